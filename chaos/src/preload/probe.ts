/**
 * Preloaded into each service (`--import`): writes down its diagnostics messages, each with the moment by the machine's one monotonic clock,
 * and obeys orders: to kill itself at a named point, to set its clock wrong, to weigh itself. Written synchronously, so that a kill -9
 * loses nothing.
 */
import { subscribe } from "node:diagnostics_channel";
import { openSync, readFileSync, rmSync, writeSync } from "node:fs";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import type { AmqpKitEvents } from "amqp-kit";
import { monotonicMs } from "../clock.ts";
import type { Orders } from "../observe.ts";

const events = [
  "dropped",
  "retried",
  "paused",
  "resumed",
  "dead-lettered",
  "reply-ignored",
  "reply-undeliverable",
  "request-refused",
  "request-sent",
  "request-begun",
  "request-returned",
  "connection",
] as const satisfies readonly (keyof AmqpKitEvents)[];
const points = ["outbox:committed", "outbox:sent", "inbox:committed"];
const lookEveryMs = 100;

const output = openSync(process.env["CHAOS_RECORDS"] ?? "", "a");
const ordersFile = process.env["CHAOS_ORDERS"] ?? "";
let clockShiftMs = 0;
let lastSample = 0;

for (const event of events) subscribe(`amqp-kit:${event}`, (facts) => record(event, facts));
for (const point of points) {
  subscribe(point, (facts) => {
    record(point, facts);
    if (orders().killAt !== point) return;
    // The one that is started next shall not die of the same order
    rmSync(ordersFile, { force: true });
    record("killed", { at: point });
    process.kill(process.pid, "SIGKILL");
  });
}

globalThis.Date = new Proxy(Date, {
  construct: (date, values, target) =>
    Reflect.construct(date, values.length === 0 ? [date.now() + clockShiftMs] : values, target),
  get: (date, name) => (name === "now" ? () => date.now() + clockShiftMs : Reflect.get(date, name)),
});

setInterval(() => {
  const { clockShiftMs: shift = 0, sample = 0 } = orders();
  clockShiftMs = shift;
  if (sample > lastSample) {
    lastSample = sample;
    weigh();
  }
}, lookEveryMs).unref();

function orders(): Orders {
  try {
    return JSON.parse(readFileSync(ordersFile, "utf8"));
  } catch {
    return {};
  }
}

function weigh(): void {
  setFlagsFromString("--expose-gc");
  const collect: () => void = runInNewContext("gc");
  // What the first one frees may hold buffers that the second one frees
  collect();
  collect();
  const { heapUsed, external } = process.memoryUsage();
  const handles = process.getActiveResourcesInfo().filter((name) => name.endsWith("Wrap"));
  record("sample", { sample: lastSample, heapBytes: heapUsed + external, handles: handles.length });
}

function record(event: string, facts: unknown): void {
  writeSync(output, `${JSON.stringify({ at: monotonicMs(), event, facts })}\n`);
}
