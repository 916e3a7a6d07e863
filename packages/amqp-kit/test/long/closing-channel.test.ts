/** A handler that is done while its channel is closing: its acknowledgement comes too late, which is no failure of its own. */
import { amqpMethods, startProxy } from "@amqp-idioms/local-servers";
import type { VirtualHost } from "@amqp-idioms/local-servers";
import { type Cleanup, test } from "@amqp-idioms/local-servers/vitest";
import { expect } from "vitest";
import { connect } from "../../src/index.ts";
import { orderPlaced, system } from "../contracts.ts";
import { billingQueue, order } from "../orders.ts";
import { recordEvents, recordingLogger } from "../recording.ts";

interface Scene {
  placeOrder: (pieces: number) => Promise<void>;
  /** From now on no delivery comes whole. */
  loseHeaders: () => void;
}

test("a handler that succeeds while the kit closes its channel after a queue deletion does not count as failed (pitfall 56a)", async ({
  vhost,
  cleanup,
}) => {
  await expectNoFailure(vhost, cleanup, () => vhost.management.deleteQueue(vhost.name, billingQueue));
});

test("a handler that succeeds while amqplib closes its channel after a lost frame does not count as failed (pitfall 56a)", async ({
  vhost,
  cleanup,
}) => {
  await expectNoFailure(vhost, cleanup, async ({ placeOrder, loseHeaders }) => {
    loseHeaders();
    await placeOrder(2);
  });
});

async function expectNoFailure(
  vhost: VirtualHost,
  cleanup: Cleanup,
  breakChannel: (scene: Scene) => Promise<unknown>,
): Promise<void> {
  using retries = recordEvents("retried");
  const logger = recordingLogger();
  const proxy = cleanup(await startProxy(vhost.url));
  const till = cleanup(await connect(vhost.url, { system, service: "till" }));
  const billing = cleanup(await connect(proxy.url, { system, service: "billing", logger }));
  const placeOrder = (pieces: number): Promise<void> => till.notify(orderPlaced, order(pieces));
  const gate = Promise.withResolvers<void>();
  const closing = Promise.withResolvers<void>();
  let consuming: number | undefined;
  let consumers = 0;
  let isLosing = false;
  // Its close stays unanswered for now
  proxy.filter(({ type, method, channel }, direction, link) => {
    if (direction === "to-client" && method === amqpMethods.basicDeliver) consuming = channel;
    if (method === amqpMethods.basicConsumeOk) consumers++;
    if (direction === "to-server" && method === amqpMethods.channelClose && channel === consuming) {
      link.freeze("to-client");
      closing.resolve();
    }
    return isLosing && direction === "to-client" && type === "header" ? "drop" : "pass";
  });
  const begun: number[] = [];
  await billing.subscribe(
    orderPlaced,
    async ({ pieces }) => {
      begun.push(pieces);
      await gate.promise;
    },
    { concurrency: 2 },
  );
  await placeOrder(1);
  await expect.poll(() => begun).toEqual([1]);
  // The second takes what is more than one
  await expect.poll(() => consumers).toBe(2);
  await breakChannel({ placeOrder, loseHeaders: () => (isLosing = true) });
  await closing.promise;
  gate.resolve();
  proxy.filter(undefined);
  proxy.thaw();
  const said = (): string[] => logger.lines.map(({ message }) => message);
  await expect.poll(said).toContainEqual(expect.stringMatching(/^consumer lost/));
  await expect.poll(() => billing.isReady).toBe(true);
  await placeOrder(3);
  await expect.poll(() => begun).toContain(3);
  expect(said()).not.toContain("handler failed");
  expect(retries.all).toEqual([]);
}
