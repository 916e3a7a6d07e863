import { createVirtualHost } from "@amqp-idioms/local-servers";
import type { BenchServers, Figure } from "./figure.ts";
import { measureBroadcast } from "./broadcast.ts";
import { measureMemory } from "./memory.ts";
import { measureNotify } from "./notify.ts";
import { measureOutbox } from "./outbox.ts";
import { measureReplicatedRequests, measureRequests } from "./request-response.ts";

/**
 * Measures all figures that docs/scaling.md quotes. Both sides of each idiom run in this process and share one core. Each measurement warms up first.
 * @param seconds  the length of each measurement
 * @param log  called with each figure when it has been measured
 */
export async function bench(
  { broker, postgresUrl }: BenchServers,
  { seconds, log }: { seconds: number; log: (figure: Figure) => void },
): Promise<Figure[]> {
  await using vhost = await createVirtualHost(broker);
  const hasQuorum = hasDefaultQueueTypes(broker);
  const measurements: (() => Promise<Figure | Figure[]>)[] = [
    ...[1, 10, 100].map((listeners) => () => measureBroadcast(vhost.url, listeners, seconds)),
    () => measureMemory(broker, vhost.url),
    () => measureNotify(broker, "classic", seconds),
    ...(hasQuorum ? [() => measureNotify(broker, "quorum", seconds)] : []),
    ...[1, 10, 100].map((callers) => () => measureRequests(vhost.url, callers, seconds)),
    ...(hasQuorum ? [() => measureReplicatedRequests(broker, 10, seconds)] : []),
    ...(postgresUrl === undefined ? [] : [() => measureOutbox(vhost.url, postgresUrl, seconds)]),
  ];
  const figures: Figure[] = [];
  for (const measure of measurements) {
    const measured = [await measure()].flat();
    measured.forEach(log);
    figures.push(...measured);
  }
  return figures;
}

/** Whether a virtual host may have a default queue type. Without it, quorum queues are not measured. */
export function hasDefaultQueueTypes({ version }: BenchServers["broker"]): boolean {
  return !version.startsWith("3.10.");
}
