import { broadcast } from "amqp-kit/contract";
import { z } from "zod";
import { instant } from "./instant.ts";

const Side = z.object({ team: z.string().min(1).max(100), score: z.int().min(0).max(9999) });

/** The state of a match after an event. Each update has the whole state, so that a missed update does no lasting harm. */
export const ScoreUpdate = z
  .object({
    match: z.string().min(1).max(200),
    home: Side,
    away: Side,
    event: z.string().max(500),
    at: instant,
  })
  .meta({ id: "ScoreUpdate" });
export type ScoreUpdate = z.output<typeof ScoreUpdate>;

export const scoreUpdates = broadcast("score_updates", {
  message: ScoreUpdate,
  decoders: { "text/plain": (text, { sentAt }) => fromText(text, sentAt ?? new Date()) },
});

/** Parses the two lines of the 2009 post: `AL 24: FL 7` and `Touch down by Tim Tebow`. */
function fromText(text: string, sentAt: Date): unknown {
  const [score = "", ...event] = text.split(/\r?\n/);
  const parts = /^(?<home>.{1,100}?) (?<homeScore>\d{1,4}): (?<away>.{1,100}?) (?<awayScore>\d{1,4})$/.exec(
    score.trim(),
  )?.groups;
  if (parts === undefined) throw new SyntaxError('the first line must read like "AL 24: FL 7"');
  return {
    match: `${parts.home} - ${parts.away}`,
    home: { team: parts.home, score: Number(parts.homeScore) },
    away: { team: parts.away, score: Number(parts.awayScore) },
    event: event.join("\n").trim(),
    at: sentAt.toISOString(),
  };
}
