import { expect } from "vitest";
import { scoreUpdates, system } from "@amqp-idioms/contracts";
import { startProcess } from "@amqp-idioms/local-servers";
import type { ServiceProcess } from "@amqp-idioms/local-servers";
import { test } from "@amqp-idioms/local-servers/vitest";
import { connect } from "amqp-kit";
import { update } from "../unit/update.ts";

const main = `${import.meta.dirname}/../../src/main.ts`;
const display = (url: string): Promise<ServiceProcess> => startProcess({ main, env: { AMQP_URL: url, PORT: "0" } });
const sender = (url: string) => connect(url, { system, service: "score-producer" });

test("While the broker is down it serves what it has and is not ready; it reconnects and shows the next update (pitfalls 79, 106)", async ({
  ownBroker,
  cleanup,
}) => {
  const service = cleanup(await display(ownBroker.url));
  const amqp = cleanup(await sender(ownBroker.url));
  await amqp.broadcast(scoreUpdates, update({ event: "before" }));
  await expect.poll(() => scores(service)).toEqual([update({ event: "before" })]);
  await ownBroker.kill();
  const status = async (path: string): Promise<number> => (await fetch(`${service.url}${path}`)).status;
  await expect.poll(() => status("/readyz")).toBe(503);
  expect(await status("/livez")).toBe(200);
  expect(await scores(service)).toEqual([update({ event: "before" })]);
  await ownBroker.start();
  await expect.poll(() => status("/readyz"), { timeout: 60_000 }).toBe(200);
  await expect
    .poll(
      async () => {
        await amqp.broadcast(scoreUpdates, update({ event: "after" }));
        return scores(service);
      },
      { timeout: 60_000, interval: 200 },
    )
    .toEqual([update({ event: "after" })]);
});

test("It waits for a broker that is down, and stops gracefully while it waits (pitfall 98)", async ({
  ownBroker,
  cleanup,
}) => {
  await ownBroker.stop();
  const service = cleanup(
    await startProcess({ main, env: { AMQP_URL: ownBroker.url, PORT: "0" }, waitForReady: false }),
  );
  await expect.poll(() => service.lines.length).toBeGreaterThan(0);
  expect(await service.stop()).toMatchObject({ code: 0 });
});

async function scores(service: ServiceProcess): Promise<unknown> {
  return (await fetch(`${service.url}/scores`)).json();
}
