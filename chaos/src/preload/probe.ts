/**
 * Preloaded into each service (`--import`). Records its diagnostics messages with the time of the machine's monotonic clock, and follows
 * orders: to kill the process at a named point, to shift its clock, to record its memory and handles. Writes synchronously, so that a
 * kill -9 loses no record.
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
const pollIntervalMs = 100;

const output = openSync(process.env["CHAOS_RECORDS"] ?? "", "a");
const ordersFile = process.env["CHAOS_ORDERS"] ?? "";
let clockShiftMs = 0;
let lastSample = 0;

for (const event of events) subscribe(`amqp-kit:${event}`, (facts) => record(event, facts));
for (const point of points) {
  subscribe(point, (facts) => {
    record(point, facts);
    if (orders().killAt !== point) return;
    // The next process must not follow the same order
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
    recordResources();
  }
}, pollIntervalMs).unref();

function orders(): Orders {
  try {
    return JSON.parse(readFileSync(ordersFile, "utf8"));
  } catch {
    return {};
  }
}

function recordResources(): void {
  setFlagsFromString("--expose-gc");
  const collect: () => void = runInNewContext("gc");
  // The second collection frees buffers of objects that the first one freed
  collect();
  collect();
  const { heapUsed, external } = process.memoryUsage();
  const handles = process.getActiveResourcesInfo().filter((name) => name.endsWith("Wrap"));
  record("sample", { sample: lastSample, heapBytes: heapUsed + external, handles: handles.length });
}

function record(event: string, facts: unknown): void {
  writeSync(output, `${JSON.stringify({ at: monotonicMs(), event, facts })}\n`);
}
