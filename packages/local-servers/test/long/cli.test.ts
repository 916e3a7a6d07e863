import { fileURLToPath } from "node:url";
import { expect } from "vitest";
import { handshake, startProcess } from "../../src/index.ts";
import { test } from "../../src/vitest/fixtures.ts";

test("The command local-servers prints the addresses of its servers, and Ctrl-C stops them within 5 s", async ({
  broker,
  cleanup,
}) => {
  const program = cleanup(
    await startProcess({
      main: fileURLToPath(new URL("../../src/cli.ts", import.meta.url)),
      env: { RABBITMQ_FROM: broker.source === "named" ? undefined : broker.source },
      waitForReady: false,
    }),
  );
  const texts = (stream: string): string[] =>
    program.lines.filter((line) => line.stream === stream).map(({ text }) => text);
  await expect.poll(() => texts("stderr"), { timeout: 50_000 }).toContain("Ctrl-C stops and removes them.");
  const url = texts("stdout")[0]?.replace("export AMQP_URL=", "") ?? "";
  await expect(handshake(url, 5_000)).resolves.toMatchObject({ version: expect.any(String) });
  const exit = await program.stop({ signal: "SIGINT" });
  expect(exit).toMatchObject({ code: 0 });
  expect(exit.ms).toBeLessThan(5_000);
  await expect(handshake(url, 5_000)).rejects.toThrow("ECONNREFUSED");
});

test("The command local-servers ends with an error that says what to do when no server can be started", async ({
  cleanup,
}) => {
  const program = cleanup(
    await startProcess({
      main: fileURLToPath(new URL("../../src/cli.ts", import.meta.url)),
      env: { RABBITMQ_FROM: "named" },
      waitForReady: false,
    }),
  );
  await expect(program.exited).resolves.toMatchObject({ code: 1 });
  expect(program.lines.map(({ text }) => text)).toContainEqual(expect.stringContaining("export AMQP_URL="));
});
