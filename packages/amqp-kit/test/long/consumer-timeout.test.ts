/** The broker's own limit for a delivery that nobody acknowledges: 30 minutes by default, seconds here. */
import { setTimeout as sleep } from "node:timers/promises";
import { createVirtualHost, startRabbitMq } from "@amqp-idioms/local-servers";
import { type Cleanup, test } from "@amqp-idioms/local-servers/vitest";
import { expect } from "vitest";
import { connect } from "../../src/index.ts";
import { orderPlaced, system } from "../contracts.ts";
import { recordingLogger } from "../recording.ts";

const timeoutMs = 1_000;
const isFrom43 = (version: string): boolean => {
  const [major = 0, minor = 0] = version.split(".").map(Number);
  return major > 4 || (major === 4 && minor >= 3);
};

test("a consumer timeout that comes as a cancel aborts the handler's signal; the message is redelivered and the ones behind it follow (pitfalls 49, 52)", async ({
  broker,
  cleanup,
  skip,
}) => {
  if (!isFrom43(broker.version)) skip("needs RabbitMQ 4.3 or newer: there the consumer timeout is a cancel");
  const vhost = cleanup(await createVirtualHost(broker, { defaultQueueType: "quorum" }));
  const definition = { "consumer-timeout": timeoutMs };
  await vhost.management.setPolicy(vhost.name, "hasty", { pattern: "^order\\.placed\\.billing$", definition });
  await expectToRecover(vhost.url, cleanup, /the broker cancelled it: .* consumer timeout/);
});

test("a consumer timeout that closes the channel with 406 aborts the handler's signal; the message is redelivered and the ones behind it follow (pitfall 51)", async ({
  broker,
  cleanup,
  skip,
}) => {
  if (isFrom43(broker.version)) skip("needs RabbitMQ up to 4.2: there the consumer timeout closes the channel");
  const source = broker.source === "container" ? "container" : "machine";
  const own = cleanup(await startRabbitMq({ from: [source], env: {} }));
  await own.setConsumerTimeout(timeoutMs);
  await expectToRecover(own.url, cleanup, /PRECONDITION_FAILED.*delivery acknowledgement/);
});

async function expectToRecover(url: string, cleanup: Cleanup, reason: RegExp): Promise<void> {
  const logger = recordingLogger();
  const till = cleanup(await connect(url, { system, service: "till" }));
  const billing = cleanup(await connect(url, { system, service: "billing", logger }));
  const begun: { orderId: string; redelivered: boolean; attempt: number }[] = [];
  const told: unknown[] = [];
  await billing.subscribe(orderPlaced, async ({ orderId }, { redelivered, attempt, signal }) => {
    begun.push({ orderId, redelivered, attempt });
    if (begun.length > 1) return;
    await sleep(60_000, undefined, { signal }).catch(() => told.push(signal.reason));
  });
  const since = performance.now();
  await till.notify(orderPlaced, { orderId: "slow", article: "lamp", pieces: 1 });
  await till.notify(orderPlaced, { orderId: "next", article: "lamp", pieces: 1 });
  await expect
    .poll(() => begun)
    .toEqual([
      { orderId: "slow", redelivered: false, attempt: 1 },
      { orderId: "slow", redelivered: true, attempt: 1 },
      { orderId: "next", redelivered: false, attempt: 1 },
    ]);
  expect(performance.now() - since).toBeGreaterThan(timeoutMs - 10);
  expect(told).toEqual([expect.objectContaining({ message: expect.stringMatching(reason) })]);
  const warnings = logger.lines.filter(({ level }) => level === "warn").map(({ facts }) => facts);
  expect(warnings).toEqual([expect.objectContaining({ error: expect.stringMatching(reason) })]);
  expect(billing.isReady).toBe(true);
}
