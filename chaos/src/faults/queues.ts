import { setTimeout as sleep } from "node:timers/promises";
import { within } from "../clock.ts";
import type { Fault, FaultContext } from "./fault.ts";

/** The documented 5 s, plus the time that a busy machine and the broker's statistics take. */
const restoredWithinMs = 15_000;
const requestQueues = ["add_patient", "get_patient"];
const notifyQueues = ["notify.patient.add.scheduling", "notify.patient.add.reporting"];

async function waitUntilRestored(
  queue: string,
  source: string,
  { system: { vhost }, reportProblem }: FaultContext,
): Promise<void> {
  const { management, name } = vhost;
  const isRestored = await within(restoredWithinMs, async () => {
    const [found, bindings, consumers] = await Promise.all([
      management.queue(name, queue),
      management.bindings(name),
      management.consumers(name),
    ]);
    const isBound = bindings.some((binding) => binding.source === source && binding.destination === queue);
    return found !== undefined && isBound && consumers.some((consumer) => consumer.queue.name === queue);
  });
  if (!isRestored)
    reportProblem(`${queue}: queue, binding and consumer did not exist again within ${restoredWithinMs / 1000} s`);
}

export const queueFaults: readonly Fault[] = [
  {
    name: "request-queue-deleted",
    async inject(context) {
      const { vhost } = context.system;
      const queue = context.random.pick(requestQueues);
      context.setDetail(queue);
      await vhost.management.deleteQueue(vhost.name, queue);
      await waitUntilRestored(queue, "api", context);
    },
  },
  {
    name: "listener-queue-deleted",
    async inject({ system: { broker, vhost }, random, setDetail }) {
      const consumers = await vhost.management.consumers(vhost.name);
      const bindings = await vhost.management.bindings(vhost.name);
      const listened = bindings
        .filter(({ source, destination }) => {
          return source === "score_updates" && consumers.some(({ queue }) => queue.name === destination);
        })
        .map(({ destination }) => destination);
      const queue = random.pick(listened);
      setDetail(queue);
      await broker.nodes[0]?.deleteQueue(vhost.name, queue);
    },
  },
  {
    // Only while the queue is empty and the notifier idle, because a deleted queue takes its messages with it
    name: "notify-queue-deleted",
    async inject(context) {
      const { vhost } = context.system;
      const { management, name } = vhost;
      const queue = context.random.pick(notifyQueues);
      context.setDetail(queue);
      await context.pauseNotifications();
      const isEmpty = async (): Promise<boolean> => (await management.queue(name, queue))?.messages === 0;
      if (!(await within(restoredWithinMs, isEmpty))) context.reportProblem(`${queue} did not become empty`);
      // By then the messages in an outbox have arrived
      await sleep(1_000);
      if (await within(restoredWithinMs, isEmpty)) {
        await management.deleteQueue(name, queue);
        await waitUntilRestored(queue, "notify.patient.add", context);
      } else {
        context.skip("it was not empty");
      }
      context.resumeNotifications();
    },
  },
];
