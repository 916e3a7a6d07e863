import { Readable } from "node:stream";
import { expect, test } from "vitest";
import { readUpdates } from "../../src/json-lines.ts";
import type { LineFault } from "../../src/json-lines.ts";

test("Each line is an update, whatever its line ending and however its bytes arrive", async () => {
  const bytes = Buffer.from(`${line("Zoé ⚽")}\r\n\n  \n${line("two")}\n${line("three, without an end")}`);
  for (const size of [1, 2, 7, bytes.length]) {
    const { events, faults } = await read(inChunks(bytes, size));
    expect(events).toEqual(["Zoé ⚽", "two", "three, without an end"]);
    expect(faults).toEqual([]);
  }
});

test("An invalid line is reported with its number, and the following lines are read", async () => {
  const { events, faults } = await read([
    Buffer.from(`${line("one")}\n{"match":\n\n${line("two")}\n`),
    Buffer.from([0x22, 0xff, 0x22, 0x0a]),
    Buffer.from(`${line("three").replace('"score":1', '"score":-1')}\n[]\n${line("four")}\n`),
  ]);
  expect(events).toEqual(["one", "two", "four"]);
  expect(faults).toMatchObject([
    { line: 2, reason: "not JSON" },
    { line: 5, reason: "not UTF-8" },
    { line: 6, reason: expect.stringMatching(/^home: score: /) },
    { line: 7, reason: expect.stringContaining("expected object") },
  ]);
});

test("A line that never ends is one fault and takes no memory", async () => {
  const endless = Array.from({ length: 100 }, () => Buffer.alloc(64 * 1024, "x"));
  const { events, faults } = await read([...endless, Buffer.from(`\n${line("after it")}\n`)]);
  expect(faults).toEqual([{ line: 1, reason: "longer than 65536 bytes" }]);
  expect(events).toEqual(["after it"]);
});

test("Reads no more than the caller consumes", async () => {
  let read = 0;
  async function* input(): AsyncGenerator<Buffer> {
    for (;;) {
      read += 1;
      yield Buffer.from(`${line(String(read))}\n`);
    }
  }
  let taken = 0;
  for await (const update of readUpdates(input(), () => {})) {
    taken += 1;
    expect(update.event).toBe(String(read));
    if (taken === 10) break;
  }
  expect(read).toBe(10);
});

function line(event: string): string {
  const side = { team: "A", score: 1 };
  return JSON.stringify({
    match: "A - B",
    home: side,
    away: { ...side, team: "B" },
    event,
    at: "2026-01-01T12:00:00Z",
  });
}

function inChunks(bytes: Buffer, size: number): Buffer[] {
  return Array.from({ length: Math.ceil(bytes.length / size) }, (_, index) =>
    bytes.subarray(index * size, (index + 1) * size),
  );
}

async function read(chunks: Buffer[]): Promise<{ events: string[]; faults: LineFault[] }> {
  const events: string[] = [];
  const faults: LineFault[] = [];
  for await (const { event } of readUpdates(Readable.from(chunks), (fault) => faults.push(fault))) events.push(event);
  return { events, faults };
}
