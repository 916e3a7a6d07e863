import { setTimeout as sleep } from "node:timers/promises";
import type { ScoreUpdate } from "@amqp-idioms/contracts";
import type { Moment } from "./story.ts";

export interface Pace {
  /** Minutes of a match per second; `Infinity` leaves no pauses. */
  readonly speed: number;
  /** Seconds from the last update until all begins again; without it, once is all. */
  readonly repeat: number | undefined;
}

/** The matches one after the other, each update when its minute comes. @throws the signal's reason when it aborts. */
export async function* replay(
  stories: readonly (readonly Moment[])[],
  { speed, repeat }: Pace,
  signal: AbortSignal,
): AsyncGenerator<ScoreUpdate> {
  for (;;) {
    for (const { minutesBefore, update } of stories.flat()) {
      await pause(minutesBefore / speed, signal);
      yield { ...update, at: new Date().toISOString() };
    }
    if (repeat === undefined) return;
    await pause(repeat, signal);
  }
}

async function pause(seconds: number, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted();
  if (seconds > 0) await sleep(seconds * 1_000, undefined, { signal });
}
