import type { ScoreUpdate } from "@amqp-idioms/contracts";

/** A score update with what a test is about. */
export function update(about: Partial<ScoreUpdate> = {}): ScoreUpdate {
  return {
    match: "AL - FL",
    home: { team: "AL", score: 24 },
    away: { team: "FL", score: 7 },
    event: "Touch down by Tim Tebow",
    at: "2026-01-01T12:00:00Z",
    ...about,
  };
}
