import { grant } from "./grant.ts";
import { loginOf } from "./login.ts";
import { writeSecrets } from "./write-secrets.ts";

/**
 * Makes what the containers of docker-compose.yml must not share and nobody should have to invent:
 * `write` (without an argument) the files with passwords, users and certificates, before anything else starts;
 * `grant` the users, databases and rights on the two servers, when they run; `show` prints the login of the management page.
 * Run again, each does what is missing, and no password changes.
 */
const commands = { write: writeSecrets, grant, show: loginOf };

const [command = "write"] = process.argv.slice(2);
if (!Object.hasOwn(commands, command)) {
  console.error(`setup: there is no command "${command}". There are ${Object.keys(commands).join(", ")}.`);
  process.exit(1);
}
try {
  console.log(await commands[command as keyof typeof commands](process.env));
} catch (error) {
  console.error(`setup ${command}: ${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = 1;
}
