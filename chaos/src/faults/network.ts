import { setTimeout as sleep } from "node:timers/promises";
import type { Direction } from "@amqp-idioms/local-servers";
import { within } from "../clock.ts";
import type { Replica, ServiceName } from "../replica.ts";
import type { Fault, Stage } from "./fault.ts";

const forMs = 4_000;
/** Two missed heartbeats of 5 s, and what a busy machine takes */
const noticedWithinMs = 20_000;
const delayMs = 300;
const slowBytesPerSecond = 2_000;
const directions: readonly Direction[] = ["to-server", "to-client"];

function victim({ system, random, note }: Stage, ...services: ServiceName[]): Replica {
  const replica = random.pick(services.length === 0 ? system.replicas : system.of(...services));
  note(`between ${replica.name} and the broker`);
  return replica;
}

/** The links that stand must go, because one of their ends notices. */
async function untilGone(replica: Replica, stage: Stage): Promise<void> {
  const links = new Set(replica.links);
  const isGone = await within(noticedWithinMs, () => replica.links.every((link) => !links.has(link)));
  if (!isGone) stage.complain(`a broken link was held for good ${noticedWithinMs / 1000} s later`);
}

/** What is written never arrives, and who wrote it learns of that late. */
function swallows(name: string, ...services: ServiceName[]): Fault {
  return {
    name,
    async strike(stage) {
      const { amqp } = victim(stage, ...services);
      amqp.forEach((proxy) => proxy.freeze("to-server"));
      await sleep(forMs);
      amqp.forEach((proxy) => proxy.cut());
      amqp.forEach((proxy) => proxy.thaw());
    },
  };
}

export const networkFaults: readonly Fault[] = [
  {
    name: "network-cut",
    async strike(stage) {
      const replica = victim(stage);
      replica.links.forEach((link) => link.lose());
      await untilGone(replica, stage);
    },
  },
  {
    name: "network-frozen",
    async strike(stage) {
      const { amqp } = victim(stage);
      amqp.forEach((proxy) => proxy.freeze());
      await sleep(forMs);
      amqp.forEach((proxy) => proxy.thaw());
    },
  },
  swallows("network-swallows"),
  // It goes on getting requests, and what it notifies of them is lost
  swallows("network-swallows-notifications", "patient-registry"),
  {
    name: "network-delayed",
    async strike(stage) {
      const { amqp } = victim(stage);
      amqp.forEach((proxy) => proxy.delay(delayMs));
      await sleep(forMs);
      amqp.forEach((proxy) => proxy.delay(0));
    },
  },
  {
    name: "network-throttled",
    async strike(stage) {
      const { amqp } = victim(stage);
      amqp.forEach((proxy) => proxy.throttle(slowBytesPerSecond));
      await sleep(forMs);
      amqp.forEach((proxy) => proxy.throttle(Infinity));
    },
  },
  {
    name: "network-half-closed",
    async strike(stage) {
      const replica = victim(stage);
      const direction = stage.random.pick(directions);
      replica.links.forEach((link) => link.halfClose(direction));
      await untilGone(replica, stage);
    },
  },
  {
    name: "network-garbled",
    async strike(stage) {
      const replica = victim(stage);
      const direction = stage.random.pick(directions);
      // No frame begins with this type, and none ends where this says
      const garbage = Buffer.from(Array.from({ length: 64 }, () => stage.random.integer(0x80, 0xff)));
      replica.links.forEach((link) => link.inject(garbage, direction));
      await untilGone(replica, stage);
    },
  },
];
