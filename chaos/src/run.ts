import { setTimeout as sleep } from "node:timers/promises";
import { patientAdded } from "@amqp-idioms/contracts";
import { BareClient } from "./bare-client.ts";
import { monotonicMs, within } from "./clock.ts";
import { recordCpuShortages } from "./cpu.ts";
import type { Fault, FaultContext } from "./faults/fault.ts";
import type { Evidence } from "./judge/evidence.ts";
import { type FaultRecord, Ledger, personalData } from "./ledger.ts";
import { MalformedInput } from "./load/malformed.ts";
import { Patients } from "./load/patients.ts";
import { Scores } from "./load/scores.ts";
import type { Mutant } from "./mutant.ts";
import { Random } from "./random.ts";
import type { Replica } from "./replica.ts";
import {
  execute,
  observations,
  readRecords,
  takeDeadLetters,
  waitUntilIdle,
  type ResourceUse,
  measureResources,
} from "./records.ts";
import { inOrder, schedule } from "./schedule.ts";
import { System } from "./system.ts";

export interface RunOptions {
  loadMs: number;
  seed: number;
  nodes: 1 | 3;
  isEmbedded: boolean;
  mutant: Mutant | undefined;
  faults: readonly Fault[];
  /** The faults were named on the command line, so one that cannot be injected is a violation */
  areNamed: boolean;
  /** Injects each fault once, in the given order, instead of repeating all of them in random order */
  isOnce: boolean;
  log: (line: string) => void;
}

const mostRounds = 20;
const warmUpMs = 4_000;
const recoveryTimeoutMs = 45_000;
/** How long the cluster may take to recover while a node is down or cut off */
const withoutTimeoutMs = 40_000;
/** The least time between recovery and the next fault */
const leastQuietMs = 5_000;
const lastPeaceMs = 13_000;
const finishTimeoutMs = 60_000;
/** A message that failed three times waits 30 s for its next attempt */
const quietTimeoutMs = 100_000;
const readinessEveryMs = 300;

/** Runs the system under load, injects the faults, and returns all evidence. */
export async function run(options: RunOptions): Promise<Evidence> {
  const { log, seed, nodes, isEmbedded, mutant } = options;
  await using system = await System.start({ nodes, isEmbedded, mutant: mutant?.name, log });
  await execute(system, mutant?.sql ?? []);
  const ledger = new Ledger();
  // The load has a generator of its own: the number of its choices depends on the machine, and the schedule must not
  const random = new Random(seed + 1);
  await using bare = new BareClient(system.broker.urls, patientAdded.name);
  const load = new Load(system, ledger, bare, random);
  const stopReadinessPolling = pollReadiness(system, ledger);
  const stopCpuRecording = recordCpuShortages(ledger.cpuShortages);
  watchOutput(system, ledger);

  // A mutant's violation does not need the resource measurement
  const isMeasured = mutant === undefined;
  if (isMeasured) log("Warming up");
  const before = isMeasured ? await measureAfterUse(system, load) : undefined;
  load.start();
  const loadBeganAt = monotonicMs();
  await injectFaults(options, new Random(seed), system, ledger, load);
  await sleep(lastPeaceMs);
  const loadEndedAt = monotonicMs();
  load.pause();

  log("The load has stopped; waiting for what is on its way");
  const areAllAccepted = await load.patients.finish(finishTimeoutMs);
  const left = await waitUntilIdle(system, quietTimeoutMs);
  const recordsBefore = isEmbedded ? undefined : await readRecords(system);
  const repeatedAtEnd = await load.patients.repeatUnanswered();
  const after = isMeasured ? await measureAfterUse(system, load) : undefined;
  left.push(...(await waitUntilIdle(system, quietTimeoutMs)));
  stopReadinessPolling();
  stopCpuRecording();
  const seen = await observations(system);
  const dead = await takeDeadLetters(system);
  if (isEmbedded) await Promise.all(system.replicas.map((replica) => replica.stop()));
  const records = await readRecords(system);
  return {
    ledger,
    records,
    recordsBefore,
    repeatedAtEnd,
    areAllAccepted,
    left,
    dead,
    observations: seen,
    replies: bare.replies,
    seenNotifications: bare.seenNotifications,
    resources: before && after && { before, after },
    bareConnectionLosses: bare.connectionLosses,
    loadBeganAt,
    loadEndedAt,
    unexpectedExits: system.replicas.flatMap(({ name, unexpectedExits }) =>
      unexpectedExits.map((exit) => ({ replica: name, ...exit })),
    ),
    displays: system.of("score-display").map(({ name }) => name),
    brokerVersion: system.broker.version,
  };
}

/** Measures after every subscriber has dead-lettered a message: a channel that opens on first use must be open in both measurements. */
async function measureAfterUse(system: System, load: Load): Promise<ResourceUse> {
  const from = monotonicMs();
  load.start();
  await sleep(warmUpMs);
  load.pause();
  await load.patients.finish(finishTimeoutMs);
  const subscribers = system.of("scheduling", "reporting");
  for (let round = 0; round < mostRounds; round += 1) {
    await load.malformed.sendSome();
    const seen = (await observations(system)).filter(({ event, at }) => event === "dead-lettered" && at > from);
    if (subscribers.every(({ name }) => seen.some(({ replica }) => replica === name))) break;
  }
  await waitUntilIdle(system, quietTimeoutMs);
  return measureResources(system);
}

/** Load of all three idioms, and malformed messages. */
class Load {
  readonly scores: Scores;
  readonly malformed: MalformedInput;
  readonly patients: Patients;
  #isPaused = true;

  constructor(system: System, ledger: Ledger, bare: BareClient, random: Random) {
    const [producer] = system.of("score-producer");
    if (producer === undefined) throw new Error("There is no score-producer.");
    this.scores = new Scores(producer, system.of("score-display"), ledger);
    this.malformed = new MalformedInput(bare, ledger, random);
    this.patients = new Patients(system.of("add-patient-api")[0]?.url ?? "", ledger, random);
  }

  start(): void {
    this.#isPaused = false;
    this.scores.start();
    this.resumeNotifications();
  }

  pause(): void {
    this.#isPaused = true;
    this.scores.pause();
    this.patients.pause();
    this.malformed.pause();
  }

  async pauseNotifications(): Promise<void> {
    this.malformed.pause();
    this.patients.pause();
    await this.patients.idle(finishTimeoutMs);
  }

  resumeNotifications(): void {
    if (this.#isPaused) return;
    this.patients.start();
    this.malformed.start();
  }
}

async function injectFaults(
  { faults, areNamed, isOnce, loadMs, log }: RunOptions,
  random: Random,
  system: System,
  ledger: Ledger,
  load: Load,
): Promise<void> {
  const endsAt = monotonicMs() + loadMs;
  const possible = faults.filter((fault) => {
    const reason = fault.unavailableReason?.(system);
    const what = `${fault.name} is not injected: ${reason}`;
    if (reason !== undefined) log(`  ${what}`);
    if (reason !== undefined && areNamed) ledger.notInjected.push(what);
    return reason === undefined;
  });
  const planned = isOnce ? inOrder(possible, random) : schedule(possible, random);
  for (const { fault, afterMs, seed } of planned) {
    const healedAt = ledger.faults.at(-1)?.to ?? monotonicMs();
    const injectAt = Math.max(healedAt + afterMs, monotonicMs() + leastQuietMs);
    if (!isOnce && injectAt > endsAt) break;
    await sleep(injectAt - monotonicMs());
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
      random: new Random(seed),
      setDetail: (detail) => (record.detail = detail),
      reportProblem: (what) => record.problems.push(what),
      skip: (why) => {
        record.isSkipped = true;
        record.detail = `missed: ${why}`;
      },
      pauseNotifications: () => load.pauseNotifications(),
      resumeNotifications: () => load.resumeNotifications(),
      waitUntilServing: async (lostAt) => {
        const tookMs = await waitUntilServing(system, ledger, withoutTimeoutMs);
        record.withoutNodeMs = tookMs && monotonicMs() - lostAt;
        if (tookMs === undefined)
          context.reportProblem(`without it nothing went on within ${withoutTimeoutMs / 1000} s`);
      },
    };
    await fault.inject(context).catch((error: unknown) => context.reportProblem(`it failed itself: ${String(error)}`));
    record.to = monotonicMs();
    record.recoveredMs = await waitUntilServing(system, ledger, recoveryTimeoutMs);
    const took = record.recoveredMs === undefined ? "NOT RECOVERED" : `back ${seconds(record.recoveredMs)} after it`;
    const without =
      record.withoutNodeMs === undefined ? "" : `went on without it after ${seconds(record.withoutNodeMs)}, `;
    log(
      `  ${fault.name}${record.detail && ` (${record.detail})`}: ${seconds(record.to - record.from)}, ${without}${took}`,
    );
  }
  if (!isOnce) await sleep(Math.max(0, endsAt - monotonicMs()));
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

function pollReadiness(system: System, ledger: Ledger): () => void {
  const last = new Map<string, boolean>();
  const asked = new Set<string>();
  const look = async (replica: Replica): Promise<void> => {
    if (asked.has(replica.name)) return;
    asked.add(replica.name);
    const isReady = await replica.isReady();
    asked.delete(replica.name);
    if (last.get(replica.name) === isReady) return;
    last.set(replica.name, isReady);
    ledger.readiness.push({ replica: replica.name, at: monotonicMs(), isReady });
  };
  const timer = setInterval(() => system.replicas.forEach((replica) => void look(replica)), readinessEveryMs);
  return () => clearInterval(timer);
}

function watchOutput(system: System, ledger: Ledger): void {
  for (const replica of system.replicas) {
    replica.onLine(({ text }) => {
      if (personalData.test(text)) ledger.personalDataPrinted.push(replica.name);
    });
  }
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`;
}
