import type { DeadLetter } from "./letter.ts";

/** Dead letters as text and as JSON. Control characters from the wire never reach the terminal. */

/** The JSON of `show --json` and of the file that `discard --save` writes. */
export interface DeadLetterRecord {
  queue: string;
  messageId: string | undefined;
  properties: Record<string, unknown>;
  headers: Record<string, unknown>;
  body: string;
  bodyEncoding: "utf-8" | "base64";
}

export function recordOf(queue: string, { message, messageId }: DeadLetter): DeadLetterRecord {
  const { headers, ...properties } = message.properties;
  const set = Object.entries<unknown>(properties).filter(([, value]) => value !== undefined);
  return { queue, messageId, properties: Object.fromEntries(set), headers: headers ?? {}, ...bodyOf(message.content) };
}

function bodyOf(content: Buffer): Pick<DeadLetterRecord, "body" | "bodyEncoding"> {
  try {
    return { body: new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(content), bodyEncoding: "utf-8" };
  } catch {
    return { body: content.toString("base64"), bodyEncoding: "base64" };
  }
}

/** A whole message, for a person. */
export function textOf(queue: string, letter: DeadLetter): string {
  const { properties, headers, body, bodyEncoding } = recordOf(queue, letter);
  const lines = [
    `${queue}: message ${letter.messageId ?? "without an id"}`,
    ...Object.entries(properties).map(([name, value]) => `  ${name}: ${shown(value)}`),
    ...Object.entries(headers).map(([name, value]) => `  header ${name}: ${shown(value)}`),
    `  body, ${letter.message.content.length} bytes${bodyEncoding === "base64" ? " (base64)" : ""}:`,
    ...body.split("\n").map((line) => `    ${line}`),
  ];
  return lines.map(harmless).join("\n");
}

function shown(value: unknown): string {
  return typeof value === "string" ? value : JSON.stringify(value);
}

/** The letters of one queue with the same reason, service and error. */
export interface Group {
  reason: string | undefined;
  service: string | undefined;
  error: string | undefined;
  messages: number;
  oldest: Date | undefined;
  newest: Date | undefined;
}

export class Groups {
  readonly #groups = new Map<string, Group>();
  highestDeliveryCount = 0;

  add(letters: readonly DeadLetter[]): void {
    for (const letter of letters) this.#add(letter);
  }

  #add({ reason, service, error, deadLetteredAt, deliveryCount }: DeadLetter): void {
    const key = JSON.stringify([reason, service, error]);
    const group = this.#groups.get(key) ?? {
      reason,
      service,
      error,
      messages: 0,
      oldest: undefined,
      newest: undefined,
    };
    this.#groups.set(key, group);
    group.messages += 1;
    if (deadLetteredAt !== undefined && !(group.oldest !== undefined && group.oldest <= deadLetteredAt))
      group.oldest = deadLetteredAt;
    if (deadLetteredAt !== undefined && !(group.newest !== undefined && group.newest >= deadLetteredAt))
      group.newest = deadLetteredAt;
    this.highestDeliveryCount = Math.max(this.highestDeliveryCount, deliveryCount);
  }

  /** Largest first. */
  get all(): Group[] {
    return [...this.#groups.values()].toSorted((a, b) => b.messages - a.messages);
  }
}

/** @param messages  undefined if the queue does not exist */
export function summaryOf(queue: string, messages: number | undefined, groups: readonly Group[]): string {
  if (messages === undefined) return `${queue}: does not exist`;
  if (messages === 0) return `${queue}: empty`;
  const lines = groups.flatMap(({ reason, service, error, messages, oldest, newest }) => [
    `  ${messages} × ${reason ?? "no reason given"}${service === undefined ? "" : `, ${service}`}: ${error ?? "no error given"}`,
    `      ${span(oldest, newest)}`,
  ]);
  return [`${queue}: ${counted(messages)}`, ...lines].map(harmless).join("\n");
}

export function counted(messages: number): string {
  return messages === 1 ? "1 message" : `${messages} messages`;
}

function span(oldest: Date | undefined, newest: Date | undefined): string {
  if (oldest === undefined || newest === undefined) return "at an unknown time";
  const [from, to] = [oldest, newest].map((at) => at.toISOString());
  return from === to ? `at ${from}` : `from ${from} to ${to}`;
}

/** Escapes control characters, and those that change the direction of writing. */
function harmless(line: string): string {
  return line.replaceAll(
    // oxlint-disable-next-line no-control-regex -- the characters to replace
    /[\u0000-\u0008\u000a-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}
