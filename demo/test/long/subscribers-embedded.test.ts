import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test as base } from "@amqp-idioms/local-servers/vitest";
import { describe, expect } from "vitest";
import { killAfterCommit, sendEachTwice, stopInTheMiddle } from "../subscriber-scenarios.ts";
import { connectRegistry, type Environment, startBoth } from "../subscribers.ts";

/** `env` names a folder for the embedded databases, which outlive the processes. */
const test = base.extend("env", async ({ vhost }, { onCleanup }): Promise<Environment> => {
  const DATA_DIR = await mkdtemp(join(tmpdir(), "subscribers-"));
  onCleanup(() => rm(DATA_DIR, { recursive: true, force: true }));
  return { AMQP_URL: vhost.url, DATA_DIR };
});

describe("scheduling and reporting on the embedded database", () => {
  test("handle a notification once that arrives twice", async ({ vhost, env, cleanup }) => {
    const registry = cleanup(await connectRegistry(vhost.url));
    await sendEachTwice(registry, vhost, await startBoth(cleanup, env));
  });

  test("handle the rest once after they were stopped in the middle of their work", async ({ vhost, env, cleanup }) => {
    await stopInTheMiddle({ vhost, env, cleanup });
  });

  test("handle a patient once when they are killed between commit and acknowledgement", async ({
    vhost,
    env,
    cleanup,
  }) => {
    await killAfterCommit({ vhost, env, cleanup });
  });

  test("refuse to start on a database that another process has opened", async ({ vhost, env, cleanup }) => {
    cleanup(await connectRegistry(vhost.url));
    await startBoth(cleanup, env);
    for (const { process } of await startBoth(cleanup, env, { waitForReady: false })) {
      expect(await process.exited).toMatchObject({ code: 1 });
      const errors = process.lines.map(({ json }) => json?.["err"]);
      expect(errors).toContainEqual(expect.objectContaining({ code: "DATABASE_FOLDER_IN_USE" }));
    }
  });
});
