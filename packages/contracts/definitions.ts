/**
 * Derives the broker's definitions from the system. With `--write`, writes `definitions.json` and the same permissions as commands to
 * docs/security.md. Without it (`npm run check`), reports which of the two files is out of date.
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
  if (!shown.test(text)) throw new Error('docs/security.md has no "rabbitmqctl set_permissions" to replace');
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
