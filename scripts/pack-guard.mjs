/**
 * `prepack` and `prepublishOnly` of the published packages. npm would pack a package.json whose `exports` name TypeScript
 * sources that are not in the tarball; pnpm writes `publishConfig` over them.
 */
import { readFileSync } from "node:fs";

const tool = process.env.npm_config_user_agent ?? "";
const isPublishing = process.env.npm_lifecycle_event === "prepublishOnly";
const { name, version, private: isPrivate, repository } = JSON.parse(readFileSync("package.json", "utf8"));

const refusals = [
  [
    !tool.startsWith("pnpm/"),
    `${name} can only be packed by pnpm: npx pnpm --filter ${name} pack. Releases: see docs/releases.md.`,
  ],
  // pnpm itself does not refuse
  [isPublishing && isPrivate === true, `${name} is private: a person must remove that line before the first release.`],
  [isPublishing && repository?.url.includes("placeholder"), `${name} has no repository address yet.`],
  [
    isPublishing && !readFileSync("../../CHANGELOG.md", "utf8").includes(`\n## ${version} `),
    `CHANGELOG.md has no section "## ${version} (date)". Rename "Unreleased" to it, and add an empty "Unreleased".`,
  ],
];
const refusal = refusals.find(([applies]) => applies);
if (refusal !== undefined) {
  console.error(refusal[1]);
  process.exitCode = 1;
}
