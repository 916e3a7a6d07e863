import { setImmediate as nextTurn, setTimeout as sleep } from "node:timers/promises";
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

/** Without a pause the event loop gets its turn all the same: a broadcast that is dropped at once gives it none. */
function pause(seconds: number, signal: AbortSignal): Promise<void> {
  return seconds > 0 ? sleep(seconds * 1_000, undefined, { signal }) : nextTurn(undefined, { signal });
}
