/** `npm run demo`: a real RabbitMQ, the six services as processes, and a story in five steps. */
import { writeFile } from "node:fs/promises";
import { styleText } from "node:util";
import { privateFolder, startRabbitMq } from "@amqp-idioms/local-servers";
import { readArguments } from "./arguments.ts";
import { Processes, type RunningService, type ServiceName } from "./processes.ts";
import { CheckFailed, type Report } from "./report.ts";
import type { Demo, Services } from "./steps/demo.ts";
import { type Step, story } from "./story.ts";

const { once, reportFile } = readArguments();
const ended = new AbortController();
const closing: (() => Promise<unknown>)[] = [];
const report: Report = { ok: false, steps: [] };

// Fails now, and not after the whole story, if the file cannot be written
if (reportFile !== undefined) await writeReport(reportFile);
process.on("SIGINT", interrupt).on("SIGTERM", interrupt);
try {
  const { promise: interrupted, reject } = Promise.withResolvers<never>();
  ended.signal.addEventListener("abort", () => reject(ended.signal.reason));
  await Promise.race([run(), interrupted]);
} catch (error) {
  if (!ended.signal.aborted) {
    console.error(error instanceof Error ? error.message : error);
    process.exitCode = 1;
  }
}
await stop();

async function writeReport(file: string): Promise<void> {
  try {
    await writeFile(file, `${JSON.stringify(report, undefined, 2)}\n`);
  } catch (error) {
    console.error(`Cannot write the report: ${error instanceof Error ? error.message : String(error)}`);
    process.exit(2);
  }
}

async function run(): Promise<void> {
  const broker = await startRabbitMq({ log: console.log });
  closing.push(async () => {
    await broker.close();
    if (broker.installed.length > 0)
      console.log(`apt installed these packages, which stay: ${broker.installed.join(" ")}`);
  });
  ended.signal.throwIfAborted();
  const folder = await privateFolder("amqp-idioms-demo", undefined);
  closing.push(() => folder.remove());
  const processes = new Processes(broker, folder.path);
  closing.push(() => processes.close());

  console.log(
    `RabbitMQ ${broker.version} is running. Starting the services; an embedded database takes seconds to create.`,
  );
  const services = await startServices(processes);
  const demo: Demo = { broker, processes, services, signal: ended.signal, print };
  for (const step of story) {
    if (!(await runStep(step, demo))) break;
  }
  report.ok = report.steps.length === story.length && report.steps.every(({ ok }) => ok);
  if (reportFile !== undefined) await writeReport(reportFile);
  if (report.ok) console.log(`\nAll ${story.length} steps passed.`);
  else process.exitCode = 1;
  if (report.ok && !once) await keepRunning(demo);
}

function print(line: string): void {
  console.log(`  ${line}`);
}

/** Starts one service after the other, because creating an embedded database keeps a CPU busy. */
async function startServices(processes: Processes): Promise<Services> {
  const start = async (service: ServiceName, name: string = service): Promise<RunningService> => {
    const started = await processes.start(service, { name });
    print(`${name} is ready`);
    return started;
  };
  return {
    registry: await start("patient-registry"),
    scheduling: await start("scheduling"),
    reporting: await start("reporting"),
    api: await start("add-patient-api"),
    display: await start("score-display", "score-display 1"),
  };
}

/** Runs one step and adds it to the report. @returns whether it passed */
async function runStep(step: Step, demo: Demo): Promise<boolean> {
  const number = report.steps.length + 1;
  console.log(`\n${styleText("bold", `${number}. ${step.name}`)}\n  Notice: ${step.notice}.`);
  const since = performance.now();
  const finish = (result: { ok: boolean; reason?: string }): void => {
    const ms = Math.round(performance.now() - since);
    report.steps.push({ name: step.name, sent: [], received: {}, ...result, ms });
  };
  const stepEnded = new AbortController();
  const signal = AbortSignal.any([demo.signal, stepEnded.signal]);
  try {
    finish({ ok: true, ...(await step.run({ ...demo, signal })) });
    return true;
  } catch (error) {
    if (ended.signal.aborted) throw error;
    const reason = error instanceof Error ? error.message : String(error);
    finish({ ok: false, reason });
    console.error(`\nStep ${number} failed: ${reason}.`);
    if (!(error instanceof CheckFailed)) console.error(error);
    for (const { name, process } of demo.processes.running) {
      console.error(`Last output of ${name}:`);
      process.lines.slice(-5).forEach(({ text }) => console.error(`  ${text}`));
    }
    return false;
  } finally {
    stepEnded.abort(new Error("the step has ended"));
  }
}

async function keepRunning({ processes, services: { api, display, scheduling, reporting } }: Demo): Promise<void> {
  await processes.start("score-producer", { args: ["--speed", "12", "--repeat", "5"] });
  console.log(`
The system keeps running until Ctrl-C. Open or fetch:
  a page to add patients    ${api.url}/
  the appointments          ${scheduling.url}/appointments
  the registrations by day  ${reporting.url}/reports/registrations
  the latest scores         ${display.url}/scores
  live scores               curl -N ${display.url}/scores/events`);
  await new Promise((resolve) => ended.signal.addEventListener("abort", resolve));
}

function interrupt(): void {
  if (ended.signal.aborted) process.exit(130);
  console.log("\nStopping everything that the demo started. Press Ctrl-C again to stop immediately.");
  ended.abort(new Error("interrupted"));
  process.exitCode = once ? 130 : 0;
}

async function stop(): Promise<void> {
  ended.abort(new Error("ended"));
  // A process that is still starting is stopped by the watchdog of local-servers
  for (const close of closing.toReversed()) {
    await close().catch((error: unknown) => console.error(error));
  }
  process.exit();
}
