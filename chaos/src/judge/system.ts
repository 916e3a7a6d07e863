import { personalData } from "../ledger.ts";
import { type Evidence, type Finding, moment } from "./evidence.ts";

/** Promises about the system as a whole. */

/** A collected heap differs by caches and compiled code. */
const heapSlackBytes = 24 * 1024 * 1024;
const handleSlack = 3;

export function nothingLeft({ left, records }: Evidence): Finding[] {
  const unsent = records.outbox.map(({ key }) => `a message about ${key} is in the outbox`);
  return [...left, ...unsent].map((what) => ({ what, trail: [] }));
}

/** Each fault that was to be injected did strike something at least once. */
export function everyFaultStruck({ ledger }: Evidence): Finding[] {
  const kinds = [...Map.groupBy(ledger.faults, ({ name }) => name)];
  const missed = kinds.filter(([, all]) => all.every(({ isMissed }) => isMissed === true));
  return [...ledger.notInjected, ...missed.map(([name, [first]]) => `${name} struck nothing: ${first?.detail}`)].map(
    (what) => ({ what, trail: [] }),
  );
}

export function cameBack(evidence: Evidence): Finding[] {
  return evidence.ledger.faults.flatMap(({ name, detail, from, recoveredMs, complaints }) => {
    const at = `${name} ${detail} at ${moment(evidence, from)}`;
    const stayed = recoveredMs === undefined ? ["the system did not come back"] : [];
    return [...stayed, ...complaints].map((what) => ({
      what: `${at}: ${what}`,
      trail: readinessAfter(evidence, from),
    }));
  });
}

function readinessAfter(evidence: Evidence, from: number): string[] {
  return evidence.ledger.readiness
    .filter(({ at }) => at > from && at < from + 60_000)
    .slice(0, 20)
    .map(({ replica, at, isReady }) => `${moment(evidence, at)} ${replica} ${isReady ? "is ready" : "is not ready"}`);
}

export function noneDiedByItself(evidence: Evidence): Finding[] {
  return evidence.unexpectedExits.map(({ replica, at, exit, lastLines }) => ({
    what: `${replica} ended by itself (${exit.signal ?? exit.code}) at ${moment(evidence, at)}`,
    trail: lastLines,
  }));
}

export function backWhereTheyBegan({ weights }: Evidence): Finding[] {
  if (weights === undefined) return [];
  const { before, after } = weights;
  const findings: string[] = [];
  for (const { replica, service, heapBytes, handles, connections } of after.replicas) {
    const first = before.replicas.filter((one) => one.service === service);
    const most = (of: (one: (typeof first)[number]) => number): number => Math.max(...first.map(of));
    const heapLimit = most((one) => one.heapBytes) + heapSlackBytes;
    if (heapBytes > heapLimit)
      findings.push(`${replica} holds ${mebibytes(heapBytes)}, at first ${mebibytes(most((one) => one.heapBytes))}`);
    if (handles > most((one) => one.handles) + handleSlack)
      findings.push(`${replica} holds ${handles} handles, at first ${most((one) => one.handles)}`);
    if (connections !== most((one) => one.connections))
      findings.push(`${replica} holds ${connections} connections, at first ${most((one) => one.connections)}`);
  }
  for (const service of new Set([...Object.keys(before.channels), ...Object.keys(after.channels)])) {
    const first = before.channels[service] ?? 0;
    const count = after.channels[service] ?? 0;
    if (count !== first) findings.push(`${service} holds ${count} channels, at first ${first}`);
  }
  if (after.replicas.length !== before.replicas.length)
    findings.push(`${after.replicas.length} replicas weighed themselves, at first ${before.replicas.length}`);
  return findings.map((what) => ({ what, trail: [] }));
}

function mebibytes(bytes: number): string {
  return `${(bytes / 1024 / 1024).toFixed(1)} MiB`;
}

export function personalDataNowhere({ ledger, dead }: Evidence): Finding[] {
  const printed = Object.entries(Object.groupBy(ledger.personalDataPrinted, (name) => name));
  const lines = printed.map(([name, all = []]) => `${name} printed a name or birth date in ${all.length} lines`);
  const headers = dead
    .filter((message) => personalData.test(JSON.stringify(message.headers)))
    .map(({ queue, messageId }) => `the headers of ${messageId} in ${queue} hold a name or birth date`);
  return [...lines, ...headers].map((what) => ({ what, trail: [] }));
}
