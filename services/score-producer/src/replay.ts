import { setImmediate as nextTurn, setTimeout as sleep } from "node:timers/promises";
import type { ScoreUpdate } from "@amqp-idioms/contracts";
import type { Moment } from "./story.ts";

export interface Pace {
  /** Minutes of a match per second; `Infinity` leaves no pauses. */
  readonly speed: number;
  /** Seconds from the last update until the replay starts again; undefined: it ends. */
  readonly repeat: number | undefined;
}

/** Yields the updates of all matches, each at its minute. @throws the reason of `signal` when it aborts */
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

/** Yields to the event loop even without a pause, since a broadcast that is dropped immediately does not. */
function pause(seconds: number, signal: AbortSignal): Promise<void> {
  return seconds > 0 ? sleep(seconds * 1_000, undefined, { signal }) : nextTurn(undefined, { signal });
}
