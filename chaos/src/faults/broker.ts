import { setTimeout as sleep } from "node:timers/promises";
import type { RabbitMq } from "@amqp-idioms/local-servers";
import { monotonicMs } from "../clock.ts";
import type { System } from "../system.ts";
import type { Fault, Stage } from "./fault.ts";

const downMs = 2_000;
const alarmMs = 4_000;
/** So long a cut-off node may seem to be there still: what was on its way arrives, and nobody misses an answer */
const hiddenMs = 6_000;

/** One of them; of a cluster it is said which. */
function victim({ system, random, note }: Stage): RabbitMq {
  const { nodes } = system.broker;
  const node = random.pick(nodes);
  if (nodes.length > 1) note(`node ${nodes.indexOf(node) + 1}`);
  return node;
}

/** A cluster goes on meanwhile; one node alone is just away for a while. */
async function whileItIsAway({ system, untilServing }: Stage): Promise<void> {
  await (system.broker.cluster === undefined ? sleep(downMs) : untilServing(monotonicMs()));
}

function whyNot({ broker }: System): string | undefined {
  return broker.cluster === undefined ? "it takes a cluster: --nodes 3" : undefined;
}

export const brokerFaults: readonly Fault[] = [
  {
    name: "broker-stopped",
    async strike(stage) {
      const node = victim(stage);
      await node.stop();
      await whileItIsAway(stage);
      await node.start();
    },
  },
  {
    name: "broker-killed",
    async strike(stage) {
      const node = victim(stage);
      await node.kill();
      await whileItIsAway(stage);
      await node.start();
    },
  },
  {
    // From the other nodes; clients still reach it
    name: "node-cut-off",
    whyNot,
    async strike(stage) {
      const node = stage.random.pick(stage.system.broker.cluster?.nodes ?? []);
      stage.note(node.name);
      await node.cutOff();
      const cutOffAt = monotonicMs();
      await sleep(hiddenMs);
      await stage.untilServing(cutOffAt);
      await node.rejoin();
    },
  },
  {
    // As for an upgrade
    name: "nodes-restarted-in-turn",
    whyNot,
    async strike({ system }) {
      for (const node of system.broker.cluster?.nodes ?? []) {
        await node.awaitQuorumWithoutIt();
        await node.restart();
      }
    },
  },
  {
    name: "connection-closed",
    async strike({ system: { vhost }, random, note }) {
      const connections = await vhost.management.connections(vhost.name);
      const { name } = random.pick(connections);
      note(name);
      await vhost.management.closeConnection(name);
    },
  },
  {
    name: "connections-closed",
    async strike({ system: { vhost }, note }) {
      note(`${await vhost.management.closeConnections(vhost.name)} connections`);
    },
  },
  {
    name: "memory-alarm",
    async strike(stage) {
      const node = victim(stage);
      await node.raiseMemoryAlarm();
      await sleep(alarmMs);
      await node.clearMemoryAlarm();
    },
  },
  {
    name: "disk-alarm",
    async strike(stage) {
      const node = victim(stage);
      await node.raiseDiskAlarm();
      await sleep(alarmMs);
      await node.clearDiskAlarm();
    },
  },
];
