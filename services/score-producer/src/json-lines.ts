import { ScoreUpdate } from "@amqp-idioms/contracts";

/** An invalid line: its number, counted from 1, and the reason. */
export interface LineFault {
  readonly line: number;
  readonly reason: string;
}

const maxLineBytes = 64 * 1024;

/**
 * Parses score updates from JSON Lines in UTF-8, no faster than the caller consumes them. Invalid lines are reported and
 * skipped, empty lines are ignored.
 * @param onFault  called for each invalid line
 */
export async function* readUpdates(
  input: AsyncIterable<Uint8Array>,
  onFault: (fault: LineFault) => void,
): AsyncGenerator<ScoreUpdate> {
  let line = 0;
  for await (const bytes of splitLines(input)) {
    line += 1;
    const { update, reason } = readLine(bytes);
    if (reason !== undefined) onFault({ line, reason });
    if (update !== undefined) yield update;
  }
}

function readLine(bytes: Uint8Array | "too long"): { update?: ScoreUpdate; reason?: string } {
  if (bytes === "too long") return { reason: `longer than ${maxLineBytes} bytes` };
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    return { reason: "not UTF-8" };
  }
  if (text.trim() === "") return {};
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return { reason: "not JSON" };
  }
  const { data, error } = ScoreUpdate.safeParse(value);
  if (error === undefined) return { update: data };
  return { reason: error.issues.map(({ path, message }) => [...path, message].join(": ")).join("; ") };
}

/** Splits the input at newlines. A line that is too long takes no memory. */
async function* splitLines(input: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array | "too long"> {
  let parts: Uint8Array[] = [];
  let length = 0;
  const keep = (part: Uint8Array): void => {
    length += part.length;
    if (length > maxLineBytes) parts = [];
    else parts.push(part);
  };
  const finishLine = (): Uint8Array | "too long" => {
    const line = length > maxLineBytes ? "too long" : Buffer.concat(parts);
    parts = [];
    length = 0;
    return line;
  };
  for await (const chunk of input) {
    let start = 0;
    for (let end = chunk.indexOf(0x0a); end >= 0; end = chunk.indexOf(0x0a, start)) {
      keep(chunk.subarray(start, end));
      yield finishLine();
      start = end + 1;
    }
    keep(chunk.subarray(start));
  }
  if (length > 0) yield finishLine();
}
