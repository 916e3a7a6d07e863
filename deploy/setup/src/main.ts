import { grant } from "./grant.ts";
import { loginOf } from "./login.ts";
import { writeSecrets } from "./write-secrets.ts";

/**
 * Sets up the containers of docker-compose.yml. `write`, the default, writes files with passwords, users and certificates before anything
 * else starts. `grant` creates users, databases and permissions on the two running servers. `show` prints the login of the management page.
 * A second run adds what is missing, and changes no password.
 */
const commands = { write: writeSecrets, grant, show: loginOf };

const [command = "write"] = process.argv.slice(2);
if (!Object.hasOwn(commands, command)) {
  console.error(`setup: unknown command "${command}". Commands: ${Object.keys(commands).join(", ")}.`);
  process.exit(1);
}
try {
  console.log(await commands[command as keyof typeof commands](process.env));
} catch (error) {
  console.error(`setup ${command}: ${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = 1;
}
