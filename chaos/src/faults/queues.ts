import { setTimeout as sleep } from "node:timers/promises";
import { within } from "../clock.ts";
import type { Fault, Stage } from "./fault.ts";

/** The documented time, 5 s, and what a busy machine and the broker's own statistics take. */
const backWithinMs = 15_000;
const requestQueues = ["add_patient", "get_patient"];
const notifyQueues = ["notify.patient.add.scheduling", "notify.patient.add.reporting"];

async function untilBack(queue: string, source: string, { system: { vhost }, complain }: Stage): Promise<void> {
  const { management, name } = vhost;
  const isBack = await within(backWithinMs, async () => {
    const [found, bindings, consumers] = await Promise.all([
      management.queue(name, queue),
      management.bindings(name),
      management.consumers(name),
    ]);
    const isBound = bindings.some((binding) => binding.source === source && binding.destination === queue);
    return found !== undefined && isBound && consumers.some((consumer) => consumer.queue.name === queue);
  });
  if (!isBack) complain(`${queue}: queue, binding and consumer were not back within ${backWithinMs / 1000} s`);
}

export const queueFaults: readonly Fault[] = [
  {
    name: "request-queue-deleted",
    async strike(stage) {
      const { vhost } = stage.system;
      const queue = stage.random.pick(requestQueues);
      stage.note(queue);
      await vhost.management.deleteQueue(vhost.name, queue);
      await untilBack(queue, "api", stage);
    },
  },
  {
    name: "listener-queue-deleted",
    async strike({ system: { broker, vhost }, random, note }) {
      const consumers = await vhost.management.consumers(vhost.name);
      const bindings = await vhost.management.bindings(vhost.name);
      const listened = bindings
        .filter(({ source, destination }) => {
          return source === "score_updates" && consumers.some(({ queue }) => queue.name === destination);
        })
        .map(({ destination }) => destination);
      const queue = random.pick(listened);
      note(queue);
      await broker.nodes[0]?.deleteQueue(vhost.name, queue);
    },
  },
  {
    // Empty, its notifier idle: what a delete takes is gone by the operator's own order
    name: "notify-queue-deleted",
    async strike(stage) {
      const { vhost } = stage.system;
      const { management, name } = vhost;
      const queue = stage.random.pick(notifyQueues);
      stage.note(queue);
      await stage.pauseNotifications();
      const isEmpty = async (): Promise<boolean> => (await management.queue(name, queue))?.messages === 0;
      if (!(await within(backWithinMs, isEmpty))) stage.complain(`${queue} did not become empty`);
      // Whatever was on its way from an outbox has arrived by then
      await sleep(1_000);
      if (await within(backWithinMs, isEmpty)) {
        await management.deleteQueue(name, queue);
        await untilBack(queue, "notify.patient.add", stage);
      } else {
        stage.miss("it was not empty");
      }
      stage.resumeNotifications();
    },
  },
];
