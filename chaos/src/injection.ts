import { setTimeout as sleep } from "node:timers/promises";
import { monotonicMs, within } from "./clock.ts";
import type { Fault, FaultContext } from "./faults/fault.ts";
import type { FaultRecord, Ledger } from "./ledger.ts";
import type { Load } from "./load/load.ts";
import { Random } from "./random.ts";
import { inOrder, schedule } from "./schedule.ts";
import type { System } from "./system.ts";

const recoveryTimeoutMs = 45_000;
/** How long the cluster may take to recover while a node is down or cut off */
const withoutNodeTimeoutMs = 40_000;
/** The least time between recovery and the next fault */
const leastQuietMs = 5_000;

export interface InjectionOptions {
  /** How long to inject faults, unless `isOnce` */
  loadMs: number;
  faults: readonly Fault[];
  /** The faults were named on the command line, so one that cannot be injected is a violation */
  areNamed: boolean;
  /** Injects each fault once, in the given order, instead of repeating all of them in random order */
  isOnce: boolean;
  log: (line: string) => void;
}

export interface Target {
  readonly system: System;
  readonly ledger: Ledger;
  readonly load: Load;
}

/** Injects one fault after the other, and records each with its recovery, until the time is over or the schedule ends. */
export async function injectFaults(options: InjectionOptions, random: Random, target: Target): Promise<void> {
  const { isOnce, loadMs, log } = options;
  const endsAt = monotonicMs() + loadMs;
  const possible = possibleFaults(options, target);
  for (const { fault, afterMs, seed } of isOnce ? inOrder(possible, random) : schedule(possible, random)) {
    const lastEndedAt = target.ledger.faults.at(-1)?.to ?? monotonicMs();
    const injectAt = Math.max(lastEndedAt + afterMs, monotonicMs() + leastQuietMs);
    if (!isOnce && injectAt > endsAt) break;
    await sleep(injectAt - monotonicMs());
    log(`  ${textOf(await injectFault(fault, new Random(seed), target))}`);
  }
  if (!isOnce) await sleep(Math.max(0, endsAt - monotonicMs()));
}

function possibleFaults({ faults, areNamed, log }: InjectionOptions, { system, ledger }: Target): Fault[] {
  return faults.filter((fault) => {
    const reason = fault.unavailableReason?.(system);
    if (reason === undefined) return true;
    const what = `${fault.name} is not injected: ${reason}`;
    log(`  ${what}`);
    if (areNamed) ledger.notInjected.push(what);
    return false;
  });
}

async function injectFault(fault: Fault, random: Random, { system, ledger, load }: Target): Promise<FaultRecord> {
  const record: FaultRecord = {
    name: fault.name,
    detail: "",
    from: monotonicMs(),
    to: Infinity,
    recoveredMs: undefined,
    problems: [],
  };
  ledger.faults.push(record);
  const context: FaultContext = {
    system,
    random,
    setDetail: (detail) => (record.detail = detail),
    reportProblem: (what) => record.problems.push(what),
    skip: (why) => {
      record.isSkipped = true;
      record.detail = `skipped: ${why}`;
    },
    pauseNotifications: () => load.pauseNotifications(),
    resumeNotifications: () => load.resumeNotifications(),
    waitUntilServing: async (lostAt) => {
      const tookMs = await waitUntilServing(system, ledger, withoutNodeTimeoutMs);
      record.withoutNodeMs = tookMs && monotonicMs() - lostAt;
      if (tookMs === undefined)
        context.reportProblem(`the system did not work without the node within ${withoutNodeTimeoutMs / 1000} s`);
    },
  };
  await fault
    .inject(context)
    .catch((error: unknown) => context.reportProblem(`the fault itself failed: ${String(error)}`));
  record.to = monotonicMs();
  record.recoveredMs = await waitUntilServing(system, ledger, recoveryTimeoutMs);
  return record;
}

/** Waits until every replica is ready, a patient is accepted and every display has shown an update. @returns the time that took, or undefined after the timeout */
async function waitUntilServing(system: System, ledger: Ledger, timeoutMs: number): Promise<number | undefined> {
  const from = monotonicMs();
  const displays = system.of("score-display").map(({ name }) => name);
  const isServing = await within(timeoutMs, async () => {
    const isAccepted = ledger.registrations
      .slice(-200)
      .some((registration) => registration.attempts.some(({ at, status }) => at > from && status === 201));
    const isShown = displays.every((display) => {
      const lastShown = ledger.shown.findLast((shown) => shown.display === display);
      return (ledger.updates[(lastShown?.number ?? 0) - 1]?.at ?? 0) > from;
    });
    return isAccepted && isShown && (await system.isReady());
  });
  return isServing ? monotonicMs() - from : undefined;
}

function textOf({ name, detail, from, to, withoutNodeMs, recoveredMs }: FaultRecord): string {
  const what = detail === "" ? name : `${name} (${detail})`;
  const withoutNode = withoutNodeMs === undefined ? "" : `, worked without the node after ${seconds(withoutNodeMs)}`;
  const recovered = recoveredMs === undefined ? "NOT RECOVERED" : `recovered after ${seconds(recoveredMs)}`;
  return `${what}: lasted ${seconds(to - from)}${withoutNode}, ${recovered}`;
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`;
}
