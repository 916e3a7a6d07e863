/** `amqp-kit dead …` as an operator's script calls it: in a process of its own, without a terminal. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { text } from "node:stream/consumers";

export const cli = join(import.meta.dirname, "../src/dead-letters/cli.ts");
export const systemFile = join(import.meta.dirname, "contracts.ts");

/** @param broker  its URL, or all variables; undefined: AMQP_URL is not set */
export async function amqpKit(
  broker: string | Record<string, string> | undefined,
  ...args: string[]
): Promise<{ code: number | null; out: string; errors: string }> {
  const variables = typeof broker === "object" ? broker : { AMQP_URL: broker };
  const env = { PATH: process.env["PATH"], ...variables };
  const command = [cli, ...args, "--system", systemFile];
  const child = spawn(process.execPath, command, { env, stdio: ["ignore", "pipe", "pipe"] });
  const closed = once(child, "close");
  const [out, errors] = await Promise.all([text(child.stdout), text(child.stderr)]);
  await closed;
  return { code: child.exitCode, out, errors };
}
