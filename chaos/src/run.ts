import { setTimeout as sleep } from "node:timers/promises";
import { patientAdded } from "@amqp-idioms/contracts";
import { BareClient } from "./bare-client.ts";
import { monotonicMs } from "./clock.ts";
import { recordCpuShortages } from "./cpu.ts";
import { injectFaults, type InjectionOptions, type Target } from "./injection.ts";
import type { Evidence } from "./judge/evidence.ts";
import { Ledger, personalData } from "./ledger.ts";
import { Load } from "./load/load.ts";
import type { Mutant } from "./mutant.ts";
import { Random } from "./random.ts";
import {
  execute,
  measureResources,
  observations,
  readRecords,
  type ResourceUse,
  takeDeadLetters,
  waitUntilIdle,
} from "./records.ts";
import type { Replica } from "./replica.ts";
import { System } from "./system.ts";

export interface RunOptions extends InjectionOptions {
  seed: number;
  nodes: 1 | 3;
  isEmbedded: boolean;
  mutant: Mutant | undefined;
}

const mostRounds = 20;
const warmUpMs = 4_000;
/** The quiet period after the last fault */
const lastQuietMs = 13_000;
const finishTimeoutMs = 60_000;
/** A message that failed three times waits 30 s for its next attempt */
const idleTimeoutMs = 100_000;
const readinessIntervalMs = 300;

/** Runs the system under load, injects the faults, and returns all evidence. */
export async function run(options: RunOptions): Promise<Evidence> {
  const { log, seed, nodes, isEmbedded, mutant } = options;
  await using system = await System.start({ nodes, isEmbedded, mutant: mutant?.name, log });
  await execute(system, mutant?.sql ?? []);
  const ledger = new Ledger();
  await using bare = new BareClient(system.broker.urls, patientAdded.name);
  // The load has a generator of its own: the number of its choices depends on the machine, and the schedule must not
  const load = new Load(system, ledger, bare, new Random(seed + 1));
  const target: Target = { system, ledger, load };
  const stopRecording = recordAll(target);

  // A mutant's violation does not need the resource measurement
  const measure = mutant === undefined ? () => measureAfterUse(target) : () => undefined;
  if (mutant === undefined) log("Warming up");
  const before = await measure();
  load.start();
  const loadBeganAt = monotonicMs();
  await injectFaults(options, new Random(seed), target);
  await sleep(lastQuietMs);
  const loadEndedAt = monotonicMs();
  load.pause();

  log("The load has stopped; waiting until every message is handled");
  const areAllAccepted = await load.patients.finish(finishTimeoutMs);
  const left = await waitUntilIdle(system, idleTimeoutMs);
  const recordsBefore = isEmbedded ? undefined : await readRecords(system);
  const repeatedAtEnd = await load.patients.repeatUnanswered();
  const after = await measure();
  left.push(...(await waitUntilIdle(system, idleTimeoutMs)));
  stopRecording();
  const found = await collect(target, bare, isEmbedded);
  const resources = before && after && { before, after };
  return { ...found, recordsBefore, repeatedAtEnd, areAllAccepted, left, resources, loadBeganAt, loadEndedAt };
}

/** Measures after every subscriber has dead-lettered a message: a channel that opens on first use must be open in both measurements. */
async function measureAfterUse({ system, load }: Target): Promise<ResourceUse> {
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
  await waitUntilIdle(system, idleTimeoutMs);
  return measureResources(system);
}

/** Reads everything that the run has left behind. Stops services with embedded databases, because these cannot be read before. */
async function collect({ system, ledger }: Target, bare: BareClient, isEmbedded: boolean) {
  const seen = await observations(system);
  const dead = await takeDeadLetters(system);
  if (isEmbedded) await Promise.all(system.replicas.map((replica) => replica.stop()));
  return {
    ledger,
    records: await readRecords(system),
    dead,
    observations: seen,
    replies: bare.replies,
    seenNotifications: bare.seenNotifications,
    bareConnectionLosses: bare.connectionLosses,
    unexpectedExits: system.replicas.flatMap(({ name, unexpectedExits }) =>
      unexpectedExits.map((exit) => ({ replica: name, ...exit })),
    ),
    displays: system.of("score-display").map(({ name }) => name),
    brokerVersion: system.broker.version,
  };
}

/** Records readiness, CPU shortages and printed personal data. @returns a function that stops the first two */
function recordAll({ system, ledger }: Target): () => void {
  for (const replica of system.replicas) {
    replica.onLine(({ text }) => {
      if (personalData.test(text)) ledger.personalDataPrinted.push(replica.name);
    });
  }
  const stops = [pollReadiness(system, ledger), recordCpuShortages(ledger.cpuShortages)];
  return () => stops.forEach((stop) => stop());
}

function pollReadiness(system: System, ledger: Ledger): () => void {
  const last = new Map<string, boolean>();
  const pending = new Set<string>();
  const check = async (replica: Replica): Promise<void> => {
    if (pending.has(replica.name)) return;
    pending.add(replica.name);
    const isReady = await replica.isReady();
    pending.delete(replica.name);
    if (last.get(replica.name) === isReady) return;
    last.set(replica.name, isReady);
    ledger.readiness.push({ replica: replica.name, at: monotonicMs(), isReady });
  };
  const timer = setInterval(() => system.replicas.forEach((replica) => void check(replica)), readinessIntervalMs);
  return () => clearInterval(timer);
}
