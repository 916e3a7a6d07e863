/** `npm run check`: runs all checks but the tests. Prints a line per check, and the output of each that fails. */
import { checks } from "./checks.ts";
import { runCommand } from "./run-command.ts";

let passed = 0;
let failed = 0;
for (const [name, command] of Object.entries(checks)) {
  const startedAt = performance.now();
  const { exitCode, output } = await runCommand(command);
  const cached = output.includes("FULL TURBO") ? ", cached" : "";
  const seconds = ((performance.now() - startedAt) / 1000).toFixed(1);
  console.log(`${exitCode === 0 ? "passed" : "FAILED"}  ${name} (${seconds} s${cached})`);
  if (exitCode === 0) {
    passed += 1;
  } else {
    failed += 1;
    console.log(`\n${output.trim()}\n`);
  }
}
console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;
