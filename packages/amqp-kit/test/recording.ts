/** What a test watches: the kit's events and its log. */
import { subscribe, unsubscribe } from "node:diagnostics_channel";
import type { AmqpKitEvents, Logger } from "../src/index.ts";

interface Recording<T> extends Disposable {
  readonly all: readonly T[];
}

/** Records one kind of event from now on: those of every session in this process. */
export function recordEvents<E extends keyof AmqpKitEvents>(event: E): Recording<AmqpKitEvents[E]> {
  const all: AmqpKitEvents[E][] = [];
  const record = (facts: unknown): void => void all.push(facts as AmqpKitEvents[E]);
  subscribe(`amqp-kit:${event}`, record);
  return { all, [Symbol.dispose]: () => void unsubscribe(`amqp-kit:${event}`, record) };
}

/** How many messages of a contract were dropped, by reason. */
export function countDrops(contract: string): Disposable & { byReason: () => Record<string, number> } {
  const events = recordEvents("dropped");
  const byReason = (): Record<string, number> => {
    const counts: Record<string, number> = {};
    for (const { contract: dropped, reason, count } of events.all) {
      if (dropped === contract) counts[reason] = (counts[reason] ?? 0) + count;
    }
    return counts;
  };
  return { byReason, [Symbol.dispose]: () => events[Symbol.dispose]() };
}

export interface LogLine {
  level: keyof Logger;
  facts: object;
  message: string;
}

export function recordingLogger(): Logger & { lines: LogLine[] } {
  const lines: LogLine[] = [];
  const at =
    (level: keyof Logger) =>
    (facts: object, message: string): void =>
      void lines.push({ level, facts, message });
  return { lines, debug: at("debug"), info: at("info"), warn: at("warn"), error: at("error") };
}
