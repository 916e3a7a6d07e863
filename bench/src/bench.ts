import { createVirtualHost } from "@amqp-idioms/local-servers";
import type { BenchServers, Figure } from "./figure.ts";
import { measureBroadcast } from "./broadcast.ts";
import { measureMemory } from "./memory.ts";
import { measureNotify } from "./notify.ts";
import { measureOutbox } from "./outbox.ts";
import { measureReplicatedRequests, measureRequests } from "./request-response.ts";

/**
 * All figures that docs/scaling.md quotes. Both sides of each idiom run in this process, so that they share one core; each measure has warmed up.
 * @param seconds  for each measure
 * @param log  told of each figure when it is there
 */
export async function bench(
  { broker, postgresUrl }: BenchServers,
  { seconds, log }: { seconds: number; log: (figure: Figure) => void },
): Promise<Figure[]> {
  await using vhost = await createVirtualHost(broker);
  const hasQuorum = hasDefaultQueueTypes(broker);
  const measures: (() => Promise<Figure | Figure[]>)[] = [
    ...[1, 10, 100].map((listeners) => () => measureBroadcast(vhost.url, listeners, seconds)),
    () => measureMemory(broker, vhost.url),
    () => measureNotify(broker, "classic", seconds),
    ...(hasQuorum ? [() => measureNotify(broker, "quorum", seconds)] : []),
    ...[1, 10, 100].map((callers) => () => measureRequests(vhost.url, callers, seconds)),
    ...(hasQuorum ? [() => measureReplicatedRequests(broker, 10, seconds)] : []),
    ...(postgresUrl === undefined ? [] : [() => measureOutbox(vhost.url, postgresUrl, seconds)]),
  ];
  const figures: Figure[] = [];
  for (const measure of measures) {
    const measured = [await measure()].flat();
    measured.forEach(log);
    figures.push(...measured);
  }
  return figures;
}

/** Whether a virtual host can say that its queues are quorum queues; without, those are not measured. */
export function hasDefaultQueueTypes({ version }: BenchServers["broker"]): boolean {
  return !version.startsWith("3.10.");
}
