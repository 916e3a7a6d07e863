/** Each failure of docs/when-things-go-wrong.md links its tests, and docs/operations.md explains each log line of the kit. */
import { existsSync, globSync, readFileSync } from "node:fs";

const failures = "docs/when-things-go-wrong.md";
const operations = "docs/operations.md";

/** @returns a sentence for each fault */
export function pageFaults(): string[] {
  return [failures, operations]
    .flatMap((page) => (existsSync(page) ? [] : [`${page} does not exist`]))
    .concat(headingsWithoutTest(), unexplainedLogLines());
}

function headingsWithoutTest(): string[] {
  return readFileSync(failures, "utf8")
    .split(/^## /m)
    .slice(1)
    .filter((part) => !/^Tests: \[/m.test(part))
    .map((part) => `${failures}: links no test under "${part.split("\n")[0]}"`);
}

/** operations.md must contain the fixed parts, outside of `${…}`, of every text that the kit logs as a warning or an error. */
function unexplainedLogLines(): string[] {
  const page = readFileSync(operations, "utf8");
  return globSync("packages/amqp-kit/src/**/*.ts").flatMap((file) => {
    const calls = readFileSync(file, "utf8").matchAll(/[lL]ogger\.(?:warn|error)\(([^]*?)\);\n/g);
    return [...calls]
      .flatMap(([, call = ""]) => [...call.matchAll(/"[^"\n]{12,}"|`[^`\n]{12,}`/g)].map(([text]) => text.slice(1, -1)))
      .flatMap((text) =>
        text
          .split(/\$\{(?:[^{}]|\{[^{}]*\})*\}/)
          .map((part) => part.trim())
          .filter((part) => part.length > 8),
      )
      .filter((part) => !page.includes(part.replace(/[:;,]$/, "")))
      .map((part) => `${operations}: does not explain the log line of ${file}: ${part}`);
  });
}
