/**
 * `npm run chaos`: runs the whole system under load, injects faults, and compares a ledger kept outside of the system with what the system
 * did. Exits with 0 if no promise was violated.
 */
import { randomInt } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { parseArgs } from "node:util";
import { faults, faultsNamed } from "./faults/index.ts";
import { judge } from "./judge/index.ts";
import { mutantNamed } from "./mutant.ts";
import { reportOf, textOf } from "./report.ts";
import { run } from "./run.ts";

const usage = `Usage: npm run chaos -- [--minutes N] [--seed S] [--faults LIST] [--nodes 3] [--embedded] [--mutant NAME] [--report FILE]
  --minutes N     how long the load runs; default 2; ignored with --once
  --seed S        repeats the schedule of an earlier run; default: a random seed, which is printed
  --faults LIST   injects only these, comma-separated, as often as time allows; "none" injects no fault. All faults:
                  ${faults.map(({ name }) => name).join(", ")}
  --nodes 3       runs on a cluster of three RabbitMQ nodes in containers; default 1
  --embedded      runs one replica of each service, on embedded databases
  --mutant NAME   removes one safety measure (chaos/mutants) and injects the faults that reveal it: the run must fail
  --once          injects each fault once, in the given order, then stops
  --report FILE   writes everything that was found as JSON`;

process.on("SIGINT", () => process.exit(130)).on("SIGTERM", () => process.exit(143));
await main();
process.exit();

function log(line: string): void {
  console.log(`${(performance.now() / 1000).toFixed(1).padStart(6)} s  ${line}`);
}

async function main(): Promise<void> {
  const options = readArguments();
  if (options === undefined) return;
  const { seed, minutes, names, nodes, isEmbedded, mutantName, isOnce, reportFile } = options;
  const mutant = mutantName === undefined ? undefined : await mutantNamed(mutantName);
  const chosen = faultsNamed(names ?? mutant?.faults.join(","));
  const loadMs = minutes * 60_000;
  console.log(`Seed ${seed}: --seed ${seed} repeats this schedule of faults.`);
  const areNamed = names !== undefined || mutant !== undefined;
  const selection = { faults: chosen, areNamed, isOnce: isOnce || mutant !== undefined };
  const evidence = await run({ loadMs, seed, nodes, isEmbedded, mutant, ...selection, log });
  const report = reportOf(evidence, judge(evidence), { seed, mutant: mutantName });
  if (reportFile !== undefined) await writeFile(reportFile, `${JSON.stringify(report, undefined, 2)}\n`);
  console.log(textOf(report));
  process.exitCode = report.ok ? 0 : 1;
}

function readArguments() {
  try {
    const { values } = parseArgs({
      options: {
        minutes: { type: "string", default: "2" },
        seed: { type: "string" },
        faults: { type: "string" },
        nodes: { type: "string", default: "1" },
        embedded: { type: "boolean", default: false },
        mutant: { type: "string" },
        once: { type: "boolean", default: false },
        report: { type: "string" },
      },
    });
    const minutes = Number(values.minutes);
    const seed = values.seed === undefined ? randomInt(2 ** 31) : Number(values.seed);
    if (!(minutes > 0) || !Number.isSafeInteger(seed))
      throw new Error("--minutes must be a number above 0 and --seed an integer.");
    if (values.nodes !== "1" && values.nodes !== "3") throw new Error("--nodes must be 1 or 3.");
    const nodes: 1 | 3 = values.nodes === "3" ? 3 : 1;
    const names = values.faults === "none" ? "" : values.faults;
    faultsNamed(names);
    const { embedded: isEmbedded, mutant: mutantName, once: isOnce, report: reportFile } = values;
    return { minutes, seed, names, nodes, isEmbedded, mutantName, isOnce, reportFile };
  } catch (error) {
    console.error(`${error instanceof Error ? error.message : String(error)}\n${usage}`);
    process.exitCode = 2;
    return undefined;
  }
}
