import { setTimeout as sleep } from "node:timers/promises";
import type { Direction } from "@amqp-idioms/local-servers";
import { within } from "../clock.ts";
import type { Replica, ServiceName } from "../replica.ts";
import type { Fault, FaultContext } from "./fault.ts";

const forMs = 4_000;
/** Two missed heartbeats of 5 s, plus the time that a busy machine takes */
const noticedWithinMs = 20_000;
const delayMs = 300;
const slowBytesPerSecond = 2_000;
const directions: readonly Direction[] = ["to-server", "to-client"];

function chooseTarget({ system, random, setDetail }: FaultContext, ...services: ServiceName[]): Replica {
  const replica = random.pick(services.length === 0 ? system.replicas : system.of(...services));
  setDetail(`between ${replica.name} and the broker`);
  return replica;
}

/** Waits until one end of each link notices that it is broken. */
async function waitUntilClosed(replica: Replica, context: FaultContext): Promise<void> {
  const links = new Set(replica.links);
  const isClosed = await within(noticedWithinMs, () => replica.links.every((link) => !links.has(link)));
  if (!isClosed) context.reportProblem(`neither end closed a broken link within ${noticedWithinMs / 1000} s`);
}

/** Writes never arrive, and the writer learns of that only when the link is cut. */
function swallows(name: string, ...services: ServiceName[]): Fault {
  return {
    name,
    async inject(context) {
      const { amqp } = chooseTarget(context, ...services);
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
    async inject(context) {
      const replica = chooseTarget(context);
      replica.links.forEach((link) => link.lose());
      await waitUntilClosed(replica, context);
    },
  },
  {
    name: "network-frozen",
    async inject(context) {
      const { amqp } = chooseTarget(context);
      amqp.forEach((proxy) => proxy.freeze());
      await sleep(forMs);
      amqp.forEach((proxy) => proxy.thaw());
    },
  },
  swallows("network-swallows"),
  // It keeps receiving requests, and its notifications are lost
  swallows("network-swallows-notifications", "patient-registry"),
  {
    name: "network-delayed",
    async inject(context) {
      const { amqp } = chooseTarget(context);
      amqp.forEach((proxy) => proxy.delay(delayMs));
      await sleep(forMs);
      amqp.forEach((proxy) => proxy.delay(0));
    },
  },
  {
    name: "network-throttled",
    async inject(context) {
      const { amqp } = chooseTarget(context);
      amqp.forEach((proxy) => proxy.throttle(slowBytesPerSecond));
      await sleep(forMs);
      amqp.forEach((proxy) => proxy.throttle(Infinity));
    },
  },
  {
    name: "network-half-closed",
    async inject(context) {
      const replica = chooseTarget(context);
      const direction = context.random.pick(directions);
      replica.links.forEach((link) => link.halfClose(direction));
      await waitUntilClosed(replica, context);
    },
  },
  {
    name: "network-garbled",
    async inject(context) {
      const replica = chooseTarget(context);
      const direction = context.random.pick(directions);
      // No frame has this type or ends at the length that these bytes give
      const garbage = Buffer.from(Array.from({ length: 64 }, () => context.random.integer(0x80, 0xff)));
      replica.links.forEach((link) => link.inject(garbage, direction));
      await waitUntilClosed(replica, context);
    },
  },
];
