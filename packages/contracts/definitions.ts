/**
 * Writes, with `--write`, what the broker has to be told of the system: `definitions.json`, and the same rights as commands in
 * docs/security.md. Without, as `npm run check` calls it, says which of the two is not current.
 */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { definitionsOf } from "amqp-kit/derive";
import { system } from "./src/system.ts";

const root = new URL("../../", import.meta.url);
const isWriting = process.argv.includes("--write");
const definitions = definitionsOf(system, { virtualHost: "/" });

keepCurrent("packages/contracts/definitions.json", () => `${JSON.stringify(definitions, null, 2)}\n`);
keepCurrent("docs/security.md", (text) => {
  const shown = /^(rabbitmqctl set_permissions .*\n)+/m;
  if (!shown.test(text))
    throw new Error('docs/security.md: has no "rabbitmqctl set_permissions" to write the rights to');
  const commands = definitions.permissions.map(
    ({ user, configure, write, read }) => `rabbitmqctl set_permissions ${user} '${configure}' '${write}' '${read}'\n`,
  );
  return text.replace(shown, () => commands.join(""));
});

function keepCurrent(file: string, currentOf: (text: string) => string): void {
  const path = new URL(file, root);
  const text = existsSync(path) ? readFileSync(path, "utf8") : "";
  const current = currentOf(text);
  if (text === current) return;
  if (isWriting) {
    writeFileSync(path, current);
    return;
  }
  console.log(`${file}: differs from system.ts; run pnpm contracts:definitions`);
  process.exitCode = 1;
}
