import { execFile } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { describe, test } from "vitest";

const root = join(import.meta.dirname, "../..");
const execute = promisify(execFile);
const published = ["packages/amqp-kit", "packages/outbox", "packages/local-servers"];

describe.concurrent("a published package", () => {
  test.for(published)("%s refuses to be packed by npm", async (folder, { expect }) => {
    const packed = execute("npm", ["pack", "--dry-run"], { cwd: join(root, folder) });
    await expect(packed).rejects.toThrow("can only be packed by pnpm");
  });

  test("refuses to be published while it is private, or without its section in CHANGELOG.md", async ({
    expect,
    onTestFinished,
  }) => {
    const copy = mkdtempSync(join(tmpdir(), "pack-guard-"));
    onTestFinished(() => rmSync(copy, { recursive: true, force: true }));
    const folder = join(copy, "packages/planted");
    mkdirSync(folder, { recursive: true });
    const publish = async (manifest: object, changelog: string): Promise<unknown> => {
      writeFileSync(join(folder, "package.json"), JSON.stringify({ name: "planted", version: "1.2.3", ...manifest }));
      writeFileSync(join(copy, "CHANGELOG.md"), `# Changelog\n\n## Unreleased\n${changelog}`);
      const env = { ...process.env, npm_config_user_agent: "pnpm/12", npm_lifecycle_event: "prepublishOnly" };
      return execute(process.execPath, [join(root, "scripts/pack-guard.mjs")], { cwd: folder, env });
    };
    const section = "\n## 1.2.3 (2026-12-24)\n";
    await expect(publish({ private: true }, section)).rejects.toThrow("planted is private");
    await expect(publish({}, "")).rejects.toThrow('has no section "## 1.2.3 (date)"');
    await expect(publish({}, section)).resolves.toBeDefined();
  });
});
