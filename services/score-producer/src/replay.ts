import { setTimeout as sleep } from "node:timers/promises";
import type { ScoreUpdate } from "@amqp-idioms/contracts";
import type { Moment } from "./story.ts";

export interface Pace {
  /** Minutes of a match per second; `Infinity` leaves no pauses. */
  readonly speed: number;
  /** Seconds from the last update until all begins again; without it, once is all. */
  readonly repeat: number | undefined;
}

/** The matches one after the other, each update when its minute comes. Ends at once when `signal` aborts. */
export async function* replay(
  stories: readonly (readonly Moment[])[],
  { speed, repeat }: Pace,
  signal: AbortSignal,
): AsyncGenerator<ScoreUpdate> {
  for (;;) {
    for (const { minutesBefore, update } of stories.flat()) {
      await pause(minutesBefore / speed, signal);
      if (signal.aborted) return;
      yield { ...update, at: new Date().toISOString() };
    }
    if (repeat === undefined) return;
    await pause(repeat, signal);
  }
}

async function pause(seconds: number, signal: AbortSignal): Promise<void> {
  if (seconds === 0) return;
  await sleep(seconds * 1_000, undefined, { signal }).catch((error: unknown) => {
    if (!signal.aborted) throw error;
  });
}
