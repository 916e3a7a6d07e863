import { setTimeout as sleep } from "node:timers/promises";
import type { RabbitMq } from "@amqp-idioms/local-servers";
import { monotonicMs } from "../clock.ts";
import type { System } from "../system.ts";
import type { Fault, FaultContext } from "./fault.ts";

const downMs = 2_000;
const alarmMs = 4_000;
/** Before this time a cut-off node may seem to work, because messages in flight still arrive */
const undetectedMs = 6_000;

/** Picks a node. In a cluster, the fault's detail names it. */
function chooseTarget({ system, random, setDetail }: FaultContext): RabbitMq {
  const { nodes } = system.broker;
  const node = random.pick(nodes);
  if (nodes.length > 1) setDetail(`node ${nodes.indexOf(node) + 1}`);
  return node;
}

/** Waits until the cluster works without the node, or a fixed time for a single node. */
async function waitWithoutNode({ system, waitUntilServing }: FaultContext): Promise<void> {
  await (system.broker.cluster === undefined ? sleep(downMs) : waitUntilServing(monotonicMs()));
}

function unavailableReason({ broker }: System): string | undefined {
  return broker.cluster === undefined ? "it needs a cluster: --nodes 3" : undefined;
}

export const brokerFaults: readonly Fault[] = [
  {
    name: "broker-stopped",
    async inject(context) {
      const node = chooseTarget(context);
      await node.stop();
      await waitWithoutNode(context);
      await node.start();
    },
  },
  {
    name: "broker-killed",
    async inject(context) {
      const node = chooseTarget(context);
      await node.kill();
      await waitWithoutNode(context);
      await node.start();
    },
  },
  {
    // The other nodes cannot reach it; clients still can
    name: "node-cut-off",
    unavailableReason,
    async inject(context) {
      const node = context.random.pick(context.system.broker.cluster?.nodes ?? []);
      context.setDetail(node.name);
      await node.cutOff();
      const cutOffAt = monotonicMs();
      await sleep(undetectedMs);
      await context.waitUntilServing(cutOffAt);
      await node.rejoin();
    },
  },
  {
    // One after the other, as for an upgrade
    name: "nodes-restarted-in-turn",
    unavailableReason,
    async inject({ system }) {
      for (const node of system.broker.cluster?.nodes ?? []) {
        await node.awaitQuorumWithoutIt();
        await node.restart();
      }
    },
  },
  {
    name: "connection-closed",
    async inject({ system: { vhost }, random, setDetail }) {
      const connections = await vhost.management.connections(vhost.name);
      const { name } = random.pick(connections);
      setDetail(name);
      await vhost.management.closeConnection(name);
    },
  },
  {
    name: "connections-closed",
    async inject({ system: { vhost }, setDetail }) {
      setDetail(`${await vhost.management.closeConnections(vhost.name)} connections`);
    },
  },
  {
    name: "memory-alarm",
    async inject(context) {
      const node = chooseTarget(context);
      await node.raiseMemoryAlarm();
      await sleep(alarmMs);
      await node.clearMemoryAlarm();
    },
  },
  {
    name: "disk-alarm",
    async inject(context) {
      const node = chooseTarget(context);
      await node.raiseDiskAlarm();
      await sleep(alarmMs);
      await node.clearDiskAlarm();
    },
  },
];
