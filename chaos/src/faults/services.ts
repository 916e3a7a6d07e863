import { setTimeout as sleep } from "node:timers/promises";
import type { Replica, ServiceName } from "../replica.ts";
import type { Fault, FaultContext } from "./fault.ts";

const pointTimeoutMs = 8_000;
/** Longer than two heartbeats of 5 s and the broker's check of them */
const frozenMs = 16_000;
const clockOffMs = 10 * 60_000;
const clockOffForMs = 5_000;

function chooseTarget({ system, random, setDetail }: FaultContext, ...services: ServiceName[]): Replica {
  const replica = random.pick(services.length === 0 ? system.replicas : system.of(...services));
  setDetail(replica.name);
  return replica;
}

/** kill -9 the next time that a replica passes a named point of its transaction. If none passes it in time, tries the other replica. */
function killedAt(point: string, service: ServiceName): Fault {
  return {
    name: `${service}-killed-at-${point.replace(":", "-")}`,
    async inject(context) {
      for (const replica of context.random.shuffled(context.system.of(service))) {
        context.setDetail(replica.name);
        if (await replica.killAt(point, pointTimeoutMs)) return;
      }
      context.skip("no replica passed that point");
    },
  };
}

function clockOff(name: string, shiftMs: number): Fault {
  return {
    name,
    async inject(context) {
      const { probe } = chooseTarget(context);
      await probe.order({ clockShiftMs: shiftMs });
      await sleep(clockOffForMs);
      await probe.order({});
    },
  };
}

export const serviceFaults: readonly Fault[] = [
  {
    name: "service-killed",
    async inject(context) {
      await chooseTarget(context).killAndStart();
    },
  },
  {
    name: "service-stopped",
    async inject(context) {
      const replica = chooseTarget(context);
      const { code, signal } = await replica.restart();
      if (code !== 0) context.reportProblem(`${replica.name} exited with ${signal ?? code} after SIGTERM, not with 0`);
    },
  },
  {
    name: "service-frozen",
    async inject(context) {
      const { process } = chooseTarget(context);
      process?.freeze();
      await sleep(frozenMs);
      process?.thaw();
    },
  },
  {
    // Shorter than two heartbeats, longer than any request's time limit: requests wait in its socket until they have expired
    name: "responder-frozen",
    async inject(context) {
      const { process } = chooseTarget(context, "patient-registry");
      process?.freeze();
      await sleep(7_000);
      process?.thaw();
    },
  },
  killedAt("outbox:committed", "patient-registry"),
  killedAt("outbox:sent", "patient-registry"),
  killedAt("inbox:committed", "scheduling"),
  killedAt("inbox:committed", "reporting"),
  clockOff("clock-ahead", clockOffMs),
  clockOff("clock-behind", -clockOffMs),
];
