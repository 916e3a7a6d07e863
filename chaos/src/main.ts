/**
 * `npm run chaos`: the whole system under steady load while faults are injected, and a ledger outside of it of what was accepted and what
 * had an effect. Exit code 0 if every promise held.
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
  --minutes N     of load; default 2, and with --once as many as it takes
  --seed S        repeats a run's schedule; default a random one, which is printed
  --faults LIST   only these, comma-separated, each as often as there is time; "none" injects nothing. There are:
                  ${faults.map(({ name }) => name).join(", ")}
  --nodes 3       on a cluster of three RabbitMQ nodes, in containers; default 1
  --embedded      one replica each, on embedded databases
  --mutant NAME   with a measure taken out (chaos/mutants), and just the faults that bring it to light: must fail
  --once          each of the faults once, in the order given, and then the end
  --report FILE   writes all that was found as JSON`;

process.on("SIGINT", () => process.exit(130)).on("SIGTERM", () => process.exit(143));
await main();
process.exit();

function log(line: string): void {
  console.log(`${(performance.now() / 1000).toFixed(1).padStart(6)} s  ${line}`);
}

async function main(): Promise<void> {
  const options = read();
  if (options === undefined) return;
  const { seed, minutes, names, nodes, isEmbedded, mutantName, isOnce, reportFile } = options;
  const mutant = mutantName === undefined ? undefined : await mutantNamed(mutantName);
  const chosen = faultsNamed(names ?? mutant?.faults.join(","));
  const loadMs = minutes * 60_000;
  console.log(`Seed ${seed}: --seed ${seed} repeats this run's schedule of faults.`);
  const areNamed = names !== undefined || mutant !== undefined;
  const how = { faults: chosen, areNamed, isOnce: isOnce || mutant !== undefined };
  const evidence = await run({ loadMs, seed, nodes, isEmbedded, mutant, ...how, log });
  const report = reportOf(evidence, judge(evidence), { seed, loadMs, mutant: mutantName });
  if (reportFile !== undefined) await writeFile(reportFile, `${JSON.stringify(report, undefined, 2)}\n`);
  console.log(textOf(report));
  process.exitCode = report.ok ? 0 : 1;
}

function read() {
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
    if (!(minutes > 0) || !Number.isSafeInteger(seed)) throw new Error("--minutes and --seed are numbers.");
    if (values.nodes !== "1" && values.nodes !== "3") throw new Error("--nodes is 1 or 3.");
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
