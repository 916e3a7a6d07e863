/** What a fault must leave behind: the shop as it was before. */
import type { VirtualHost } from "@amqp-idioms/local-servers";
import { expect } from "vitest";
import { AmqpKitError } from "../src/index.ts";
import { type Shop, standing } from "./shop.ts";

/** A broker that was away for a while is tried again after up to 30 s. */
export const patience = { timeout: 45_000 };

/** All verbs are in use, and just this stands on the broker for it. */
export async function expectToStand(vhost: VirtualHost): Promise<void> {
  await expect.poll(() => countsOf(vhost), patience).toEqual(standing);
}

export async function expectToRecover(shop: Shop, vhost: VirtualHost): Promise<void> {
  await expect.poll(() => shop.isReady, patience).toBe(true);
  await shop.rest();
  const heardBefore = shop.heard.length;
  // A session that is ready to listen does not tell that the sender is back
  await expect.poll(() => shop.broadcast().then(() => shop.heard.length), patience).toBeGreaterThan(heardBefore);
  await expect.poll(() => shop.notify().then(() => true, String), patience).toBe(true);
  await expect.poll(() => shop.request().then(() => true, String), patience).toBe(true);
  // And goes on: each verb, many times, without one failure
  for (let round = 0; round < 50; round++) await Promise.all([shop.notify(), shop.request()]);
  await expect.poll(() => shop.missing).toEqual([]);
  await expectToStand(vhost);
  expect(shop.failures.filter((error) => !(error instanceof AmqpKitError && error.retryable))).toEqual([]);
  expect(await shop.close()).toEqual([]);
}

export async function countsOf({ management, name }: VirtualHost): Promise<typeof standing> {
  const [connections, channels, consumers] = await Promise.all([
    management.connections(name),
    management.channels(name),
    management.consumers(name),
  ]);
  return { connections: connections.length, channels: channels.length, consumers: consumers.length };
}
