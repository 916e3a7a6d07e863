import type { Evidence, Violation } from "./judge/evidence.ts";
import { acceptedPatientId } from "./ledger.ts";

/** The result of a run. `--report FILE` writes it as JSON; `textOf` prints a summary. */
export interface Report {
  ok: boolean;
  seed: number;
  loadSeconds: number;
  mutant: string | undefined;
  broker: string;
  faults: {
    kind: string;
    count: number;
    medianRecoveryMs: number | undefined;
    worstRecoveryMs: number | undefined;
    /** The longest time until the cluster worked without the lost node */
    worstWithoutMs: number | undefined;
  }[];
  counts: Record<string, number>;
  violations: readonly Violation[];
  /** In the order of injection */
  schedule: {
    name: string;
    detail: string;
    ms: number;
    recoveredMs: number | undefined;
    withoutMs: number | undefined;
  }[];
}

export function reportOf(
  evidence: Evidence,
  violations: readonly Violation[],
  run: { seed: number; mutant: string | undefined },
): Report {
  const { ledger } = evidence;
  const faults = [...Map.groupBy(ledger.faults, ({ name }) => name)].map(([kind, all]) => {
    const times = all.flatMap(({ recoveredMs }) => recoveredMs ?? []).toSorted((one, other) => one - other);
    return {
      kind,
      count: all.filter(({ isSkipped }) => isSkipped !== true).length,
      medianRecoveryMs: rounded(times[Math.floor((times.length - 1) / 2)]),
      worstRecoveryMs: rounded(times.at(-1)),
      worstWithoutMs: rounded(
        all.flatMap(({ withoutNodeMs }) => withoutNodeMs ?? []).toSorted((one, other) => other - one)[0],
      ),
    };
  });
  return {
    ok: violations.length === 0,
    seed: run.seed,
    loadSeconds: Math.round((evidence.loadEndedAt - evidence.loadBeganAt) / 1000),
    mutant: run.mutant,
    broker: evidence.brokerVersion,
    faults,
    counts: countsOf(evidence),
    violations,
    schedule: ledger.faults.map(({ name, detail, from, to, recoveredMs, withoutNodeMs }) => {
      const ms = Math.round(to - from);
      return { name, detail, ms, recoveredMs: rounded(recoveredMs), withoutMs: rounded(withoutNodeMs) };
    }),
  };
}

function rounded(ms: number | undefined): number | undefined {
  return ms === undefined ? undefined : Math.round(ms);
}

function countsOf({ ledger, records, dead, replies, observations, displays }: Evidence): Record<string, number> {
  const attempts = ledger.registrations.flatMap((registration) => registration.attempts);
  const seen = (event: string): number => observations.filter((observation) => observation.event === event).length;
  return {
    "patients requested": ledger.registrations.length,
    "patients accepted": ledger.registrations.filter((registration) => acceptedPatientId(registration) !== undefined)
      .length,
    POSTs: attempts.length,
    "POSTs refused": attempts.filter(({ status }) => status !== 201).length,
    GETs: ledger.lookups.length,
    "GETs refused": ledger.lookups.filter(({ status }) => status !== 200).length,
    "patients in the registry": records.patients.length,
    appointments: records.appointments.length,
    "registrations in the reports": records.registrations.length,
    "requests sent": seen("request-sent"),
    "requests begun": seen("request-begun"),
    "requests returned unbegun": seen("request-returned"),
    "updates sent": ledger.updates.length,
    ...Object.fromEntries(
      displays.map((display) => [
        `updates on ${display}`,
        ledger.shown.filter((one) => one.display === display).length,
      ]),
    ),
    "malformed messages sent": ledger.malformed.length,
    "malformed requests answered": replies.size,
    "dead letters": dead.length,
    "notifications retried": seen("retried"),
    "seconds of CPU shortage": Math.round(
      ledger.cpuShortages.reduce((sum, { from, to }) => sum + to - from, 0) / 1_000,
    ),
  };
}

function seconds(ms: number | undefined): string {
  return ms === undefined ? "never" : `${(ms / 1000).toFixed(1)} s`;
}

/** The counts of each line of the printed report. */
const groups = {
  patients: /^(patients|appointments|registrations)/,
  HTTP: /^(POSTs|GETs)/,
  requests: /^requests/,
  updates: /^updates/,
  malformed: /^(malformed|dead letters)/,
  other: /^(notifications|seconds)/,
};

function lineOf(group: string, members: RegExp, counts: Record<string, number>): string {
  const shown = Object.entries(counts).filter(([what]) => members.test(what));
  return `  ${group.padEnd(10)} ${shown.map(([what, count]) => `${count} ${what.replace(`${group} `, "")}`).join(", ")}`;
}

export function textOf(report: Report): string {
  const { seed, loadSeconds, broker, faults, counts, violations, mutant } = report;
  const width = Math.max(0, ...faults.map(({ kind }) => kind.length));
  const injected = faults.map(({ kind, count, medianRecoveryMs, worstRecoveryMs, worstWithoutMs }) => {
    const without = worstWithoutMs === undefined ? "" : `; without the node: worst ${seconds(worstWithoutMs)}`;
    return `  ${count} × ${kind.padEnd(width)} median ${seconds(medianRecoveryMs)}, worst ${seconds(worstRecoveryMs)}${without}`;
  });
  const found = violations.slice(0, 10).flatMap(({ claim, what, trail }) => {
    return [`  Violation: ${claim}`, `    ${what}`, ...trail.slice(-8).map((line) => `      ${line}`)];
  });
  const more = violations.length > 10 ? [`  and ${violations.length - 10} more: see --report FILE`] : [];
  return [
    `\n${loadSeconds} s of load on RabbitMQ ${broker}, seed ${seed}${mutant === undefined ? "" : `, mutant ${mutant}`}`,
    "Faults injected, and the time to recover after each ended:",
    ...(injected.length === 0 ? ["  none"] : injected),
    "Counts:",
    ...Object.entries(groups).map(([group, members]) => lineOf(group, members, counts)),
    ...found,
    ...more,
    violations.length === 0 ? "No violations." : `Violations: ${violations.length}`,
  ].join("\n");
}
