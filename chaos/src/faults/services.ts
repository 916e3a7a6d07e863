import { setTimeout as sleep } from "node:timers/promises";
import type { Replica, ServiceName } from "../replica.ts";
import type { Fault, Stage } from "./fault.ts";

const pointTimeoutMs = 8_000;
/** Past two heartbeats of 5 s, and the broker's own check of them */
const frozenMs = 16_000;
const clockOffMs = 10 * 60_000;
const clockOffForMs = 5_000;

function victim({ system, random, note }: Stage, ...services: ServiceName[]): Replica {
  const replica = random.pick(services.length === 0 ? system.replicas : system.of(...services));
  note(replica.name);
  return replica;
}

/** kill -9 at a named point of a transaction, the next time that this replica passes it, or else the other one. */
function killedAt(point: string, service: ServiceName): Fault {
  return {
    name: `${service}-killed-at-${point.replace(":", "-")}`,
    async strike(stage) {
      for (const replica of stage.random.shuffled(stage.system.of(service))) {
        stage.note(replica.name);
        if (await replica.killAt(point, pointTimeoutMs)) return;
      }
      stage.miss("no replica passed it");
    },
  };
}

function clockOff(name: string, shiftMs: number): Fault {
  return {
    name,
    async strike(stage) {
      const { probe } = victim(stage);
      await probe.order({ clockShiftMs: shiftMs });
      await sleep(clockOffForMs);
      await probe.order({});
    },
  };
}

export const serviceFaults: readonly Fault[] = [
  {
    name: "service-killed",
    async strike(stage) {
      await victim(stage).killAndStart();
    },
  },
  {
    name: "service-stopped",
    async strike(stage) {
      const replica = victim(stage);
      const { code, signal } = await replica.restart();
      if (code !== 0) stage.complain(`${replica.name} ended with ${signal ?? code} at SIGTERM, not with 0`);
    },
  },
  {
    name: "service-frozen",
    async strike(stage) {
      const { process } = victim(stage);
      process?.freeze();
      await sleep(frozenMs);
      process?.thaw();
    },
  },
  {
    // Shorter than a heartbeat, longer than any request's time limit: requests wait in its socket until nobody wants them any more
    name: "responder-frozen",
    async strike(stage) {
      const { process } = victim(stage, "patient-registry");
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
