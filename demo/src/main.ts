/**
 * The demo: a real RabbitMQ, the six services as processes of their own, and a story in five steps. Goes on until Ctrl-C;
 * `--once` ends after the story, `--report FILE` writes what was observed as JSON.
 */
import { writeFile } from "node:fs/promises";
import { parseArgs, styleText } from "node:util";
import { privateFolder, startRabbitMq } from "@amqp-idioms/local-servers";
import { Cast, type ServiceName } from "./cast.ts";
import { NotHeld, type Report } from "./report.ts";
import { type Players, type Stage, story } from "./story.ts";

const { once, reportFile } = readArguments();
const ended = new AbortController();
const closing: (() => Promise<unknown>)[] = [];
const report: Report = { ok: false, steps: [] };

// Before the story, so that it is not played for nothing
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

function readArguments(): { once: boolean; reportFile: string | undefined } {
  try {
    const options = { once: { type: "boolean", default: false }, report: { type: "string" } } as const;
    const { once, report: reportFile } = parseArgs({ options }).values;
    return { once, reportFile };
  } catch (error) {
    console.error(
      `${error instanceof Error ? error.message : String(error)}\nUsage: npm run demo -- [--once] [--report FILE]`,
    );
    return process.exit(2);
  }
}

async function writeReport(file: string): Promise<void> {
  try {
    await writeFile(file, `${JSON.stringify(report, undefined, 2)}\n`);
  } catch (error) {
    console.error(`The report cannot be written: ${error instanceof Error ? error.message : String(error)}`);
    process.exit(2);
  }
}

async function run(): Promise<void> {
  const broker = await startRabbitMq({ log: console.log });
  closing.push(async () => {
    await broker.close();
    if (broker.installed.length > 0) console.log(`What apt installed stays: ${broker.installed.join(" ")}`);
  });
  ended.signal.throwIfAborted();
  const folder = await privateFolder("amqp-idioms-demo", undefined);
  closing.push(() => folder.remove());
  const cast = new Cast(broker, folder.path);
  closing.push(() => cast.close());

  console.log(
    `RabbitMQ ${broker.version} is there. Starting the services; the first start of an embedded database takes seconds`,
  );
  const players = await startPlayers(cast);
  const stage: Stage = { broker, cast, signal: ended.signal, say };
  for (const step of story) {
    if (!(await play(step, stage, players))) break;
  }
  report.ok = report.steps.length === story.length && report.steps.every(({ ok }) => ok);
  if (reportFile !== undefined) await writeReport(reportFile);
  if (report.ok) console.log("\nEvery step held.");
  else process.exitCode = 1;
  if (report.ok && !once) await goOn(cast, players);
}

function say(line: string): void {
  console.log(`  ${line}`);
}

async function startPlayers(cast: Cast): Promise<Players> {
  const start = async (service: ServiceName, name: string = service): Promise<Awaited<ReturnType<Cast["start"]>>> => {
    const player = await cast.start(service, { name });
    say(`${name} is ready`);
    return player;
  };
  // One after the other: an embedded database takes a processor of its own while it is created
  const registry = await start("patient-registry");
  const scheduling = await start("scheduling");
  const reporting = await start("reporting");
  const api = await start("add-patient-api");
  const display = await start("score-display", "score-display 1");
  return { registry, scheduling, reporting, api, display };
}

async function play(step: (typeof story)[number], stage: Stage, players: Players): Promise<boolean> {
  const number = report.steps.length + 1;
  console.log(`\n${styleText("bold", `${number}. ${step.name}`)}\n  Notice: ${step.notice}.`);
  const since = performance.now();
  const finish = (result: { ok: boolean; reason?: string }): void => {
    const ms = Math.round(performance.now() - since);
    report.steps.push({ name: step.name, sent: [], received: {}, ...result, ms });
  };
  const stepEnded = new AbortController();
  const signal = AbortSignal.any([stage.signal, stepEnded.signal]);
  try {
    const observed = await step.play({ ...stage, signal }, players);
    finish({ ok: true, ...observed });
    return true;
  } catch (error) {
    if (ended.signal.aborted) throw error;
    const reason = error instanceof Error ? error.message : String(error);
    finish({ ok: false, reason });
    console.error(`\nThis did not hold: ${reason}.`);
    if (!(error instanceof NotHeld)) console.error(error);
    for (const { name, process } of stage.cast.playing) {
      console.error(`Last lines of ${name}:`);
      process.lines.slice(-5).forEach(({ text }) => console.error(`  ${text}`));
    }
    return false;
  } finally {
    stepEnded.abort(new Error("the step has ended"));
  }
}

async function goOn(cast: Cast, { api, display, scheduling, reporting }: Players): Promise<void> {
  await cast.start("score-producer", { args: ["--speed", "12", "--repeat", "5"] });
  console.log(`
It goes on until Ctrl-C. Try:
  add a patient           ${api.url}/
    and see who learned   ${scheduling.url}/appointments and ${reporting.url}/reports/registrations
  the latest scores       ${display.url}/scores
  scores as they come     curl -N ${display.url}/scores/events`);
  await new Promise((resolve) => ended.signal.addEventListener("abort", resolve));
}

function interrupt(): void {
  if (ended.signal.aborted) process.exit(130);
  console.log("\nStopping everything that was started. Once more stops at once.");
  ended.abort(new Error("interrupted"));
  process.exitCode = once ? 130 : 0;
}

async function stop(): Promise<void> {
  ended.abort(new Error("ended"));
  // What was still being started is ended by the watchdog of local-servers
  for (const close of closing.toReversed()) {
    await close().catch((error: unknown) => console.error(error));
  }
  process.exit();
}
