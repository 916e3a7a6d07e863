import { setTimeout as sleep } from "node:timers/promises";
import type { Fault } from "./fault.ts";

const downMs = 2_000;
const alarmMs = 4_000;

export const brokerFaults: readonly Fault[] = [
  {
    name: "broker-stopped",
    async strike({ system: { broker } }) {
      await broker.stop();
      await sleep(downMs);
      await broker.start();
    },
  },
  {
    name: "broker-killed",
    async strike({ system: { broker } }) {
      await broker.kill();
      await sleep(downMs);
      await broker.start();
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
    async strike({ system: { broker } }) {
      await broker.raiseMemoryAlarm();
      await sleep(alarmMs);
      await broker.clearMemoryAlarm();
    },
  },
  {
    name: "disk-alarm",
    async strike({ system: { broker } }) {
      await broker.raiseDiskAlarm();
      await sleep(alarmMs);
      await broker.clearDiskAlarm();
    },
  },
];
