import { personalData } from "../ledger.ts";
import { type Evidence, type Finding, timeOf } from "./evidence.ts";

/** Promises about the system as a whole. */

/** Caches and compiled code change the heap's size even after garbage collection. */
const heapSlackBytes = 24 * 1024 * 1024;
const handleSlack = 3;

export function nothingLeft({ left, records }: Evidence): Finding[] {
  const unsent = records.outbox.map(({ key }) => `a message about ${key} is in the outbox`);
  return [...left, ...unsent].map((what) => ({ what, trail: [] }));
}

/** Each selected fault was injected at least once. */
export function everyFaultInjected({ ledger }: Evidence): Finding[] {
  const kinds = [...Map.groupBy(ledger.faults, ({ name }) => name)];
  const missed = kinds.filter(([, all]) => all.every(({ isSkipped }) => isSkipped === true));
  return [...ledger.notInjected, ...missed.map(([name, [first]]) => `${name} found no target: ${first?.detail}`)].map(
    (what) => ({ what, trail: [] }),
  );
}

export function recovered(evidence: Evidence): Finding[] {
  return evidence.ledger.faults.flatMap(({ name, detail, from, recoveredMs, problems }) => {
    const at = `${name} ${detail} at ${timeOf(evidence, from)}`;
    const notRecovered = recoveredMs === undefined ? ["the system did not recover"] : [];
    return [...notRecovered, ...problems].map((what) => ({
      what: `${at}: ${what}`,
      trail: readinessAfter(evidence, from),
    }));
  });
}

function readinessAfter(evidence: Evidence, from: number): string[] {
  return evidence.ledger.readiness
    .filter(({ at }) => at > from && at < from + 60_000)
    .slice(0, 20)
    .map(({ replica, at, isReady }) => `${timeOf(evidence, at)} ${replica} ${isReady ? "is ready" : "is not ready"}`);
}

export function noUnexpectedExit(evidence: Evidence): Finding[] {
  return evidence.unexpectedExits.map(({ replica, at, exit, lastLines }) => ({
    what: `${replica} exited on its own (${exit.signal ?? exit.code}) at ${timeOf(evidence, at)}`,
    trail: lastLines,
  }));
}

export function resourcesReturned({ resources }: Evidence): Finding[] {
  if (resources === undefined) return [];
  const { before, after } = resources;
  const findings: string[] = [];
  for (const { replica, service, heapBytes, handles, connections } of after.replicas) {
    const first = before.replicas.filter((one) => one.service === service);
    const most = (of: (one: (typeof first)[number]) => number): number => Math.max(...first.map(of));
    const heapLimit = most((one) => one.heapBytes) + heapSlackBytes;
    if (heapBytes > heapLimit)
      findings.push(
        `${replica} holds ${mebibytes(heapBytes)}, before the load ${mebibytes(most((one) => one.heapBytes))}`,
      );
    if (handles > most((one) => one.handles) + handleSlack)
      findings.push(`${replica} holds ${handles} handles, before the load ${most((one) => one.handles)}`);
    if (connections !== most((one) => one.connections))
      findings.push(`${replica} holds ${connections} connections, before the load ${most((one) => one.connections)}`);
  }
  for (const service of new Set([...Object.keys(before.channels), ...Object.keys(after.channels)])) {
    const first = before.channels[service] ?? 0;
    const count = after.channels[service] ?? 0;
    if (count !== first) findings.push(`${service} holds ${count} channels, before the load ${first}`);
  }
  if (after.replicas.length !== before.replicas.length)
    findings.push(
      `${after.replicas.length} replicas recorded their resources, before the load ${before.replicas.length}`,
    );
  return findings.map((what) => ({ what, trail: [] }));
}

function mebibytes(bytes: number): string {
  return `${(bytes / 1024 / 1024).toFixed(1)} MiB`;
}

export function noPersonalData({ ledger, dead }: Evidence): Finding[] {
  const printed = Object.entries(Object.groupBy(ledger.personalDataPrinted, (name) => name));
  const lines = printed.map(([name, all = []]) => `${name} printed a name or birth date in ${all.length} lines`);
  const headers = dead
    .filter((message) => personalData.test(JSON.stringify(message.headers)))
    .map(({ queue, messageId }) => `the headers of ${messageId} in ${queue} hold a name or birth date`);
  return [...lines, ...headers].map((what) => ({ what, trail: [] }));
}
