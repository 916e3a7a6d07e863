import { z } from "zod";

export interface Goal {
  /** The team whose score it raises; for an own goal not the scorer's team. */
  readonly side: "home" | "away";
  readonly scorer: string;
  readonly minute: number;
  /** Minutes of stoppage time: 4 in 90+4. */
  readonly stoppage: number;
  readonly kind: "goal" | "penalty" | "own goal";
}

export interface Match {
  readonly round: string | undefined;
  readonly home: string;
  readonly away: string;
  /** The goals of both teams in the order of their minutes. */
  readonly goals: readonly Goal[];
  /** Without the shoot-out; undefined if the file has none. */
  readonly result: Score | undefined;
  readonly hadExtraTime: boolean;
  readonly shootOut: Score | undefined;
}

export type Score = readonly [home: number, away: number];

// With these limits every update of a match is a valid score update
const Count = z.int().min(0).max(9999);
/** A match that was not played has no result or null. */
const Result = z.preprocess((result) => result ?? undefined, z.tuple([Count, Count]).optional());
/** Older files have `{ "name": "Brazil", "code": "BRA" }` instead of a name. */
const Team = z.preprocess(
  (team) => (typeof team === "object" && team !== null && "name" in team ? team.name : team),
  z.string().min(1).max(60),
);
/** Some files have only the result, as a list. */
const ScoreEntry = z.preprocess(
  (score) => (Array.isArray(score) ? { ft: score } : (score ?? undefined)),
  z.object({ ft: Result, et: Result, p: Result }).optional(),
);
/** A match that was awarded has a result, and was not played. */
const notPlayed = ["awarded", "cancelled", "canceled", "postponed", "abandoned"];

/** Stoppage time has two forms: `"minute": 90, "offset": 4`, and `"minute": "90+4"`. */
const notAMinute = 'must be a minute such as 90 or "90+4"';
const Minute = z.preprocess(
  (minute) => (typeof minute === "number" ? String(minute) : minute),
  z.string({ error: notAMinute }).regex(/^\d{1,3}(\+\d{1,2})?$/, notAMinute),
);
const GoalEntry = z.object({
  name: z.string().min(1).max(400),
  minute: Minute,
  offset: z.int().min(0).max(99).default(0),
  penalty: z.boolean().optional(),
  owngoal: z.boolean().optional(),
});

const MatchEntry = z.object({
  round: z.string().max(70).optional(),
  team1: Team,
  team2: Team,
  score: ScoreEntry,
  status: z.string().optional(),
  goals1: z.array(GoalEntry).optional(),
  goals2: z.array(GoalEntry).optional(),
});

const FlatFile = z.object({ matches: z.array(z.unknown()) });
const FileOfRounds = z.object({ rounds: z.array(z.object({ name: z.string(), matches: z.array(z.unknown()) })) });
const File = z.union([
  FlatFile.transform(({ matches }) => matches),
  FileOfRounds.transform(({ rounds }) =>
    rounds.flatMap(({ name, matches }) => matches.map((match): unknown => Object.assign({ round: name }, match))),
  ),
]);

/**
 * Parses football.json (github.com/openfootball) in its current flat form, as in the file of the World Cup 2022, and in the older form
 * with a list of rounds.
 * @returns the matches that were played: those with a score or goals, in the file's order
 * @throws Error  with the line and column of invalid JSON, or the number and field of each invalid match
 */
export function readMatches(text: string): Match[] {
  const file = File.safeParse(parseJson(text));
  if (!file.success) throw new Error('not football.json: the list "matches" or "rounds" is missing');
  const entries = file.data.map((entry) => MatchEntry.safeParse(entry));
  const faults = entries.flatMap(({ error }, index) =>
    (error?.issues ?? []).map(
      ({ path, message }) => `match ${index + 1}, ${path.join(".") || "the whole match"}: ${message}`,
    ),
  );
  if (faults.length > 0) throw new Error(`not football.json: ${firstOf(faults)}`);
  return entries.flatMap(({ data }) => (data !== undefined && wasPlayed(data) ? [matchOf(data)] : []));
}

function parseJson(text: string): unknown {
  try {
    // Files saved on Windows may begin with a byte order mark
    return JSON.parse(text.replace(/^\uFEFF/, ""));
  } catch (error) {
    throw new Error(`not JSON: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
  }
}

function firstOf(faults: readonly string[], most = 10): string {
  const more = faults.length - most;
  return faults.slice(0, most).join("; ") + (more > 0 ? `; and ${more} more` : "");
}

function wasPlayed({ status, score, goals1 = [], goals2 = [] }: z.output<typeof MatchEntry>): boolean {
  if (status !== undefined && notPlayed.includes(status.toLowerCase())) return false;
  return score?.ft !== undefined || score?.et !== undefined || goals1.length > 0 || goals2.length > 0;
}

function matchOf({ round, team1, team2, score, goals1 = [], goals2 = [] }: z.output<typeof MatchEntry>): Match {
  const goals = [...goals1.map((goal) => goalOf("home", goal)), ...goals2.map((goal) => goalOf("away", goal))];
  // Without a result after extra time, the minute 92 is stoppage time, 90+2. A goal after 105 was in extra time
  const endedAfter90 = score?.ft !== undefined && score.et === undefined && goals.every(({ minute }) => minute <= 105);
  const timed = endedAfter90 ? goals.map(inStoppageTime) : goals;
  return {
    round,
    home: team1,
    away: team2,
    goals: timed.toSorted((one, other) => one.minute - other.minute || one.stoppage - other.stoppage),
    result: score?.et ?? score?.ft,
    hadExtraTime: score?.et !== undefined || timed.some(({ minute }) => minute > 90),
    shootOut: score?.p,
  };
}

function inStoppageTime(goal: Goal): Goal {
  return goal.minute > 90 ? { ...goal, minute: 90, stoppage: goal.minute - 90 + goal.stoppage } : goal;
}

/** football.json lists an own goal among the goals of the team that it counts for. */
function goalOf(side: Goal["side"], { name, minute, offset, penalty, owngoal }: z.output<typeof GoalEntry>): Goal {
  const [base = 0, stoppage = offset] = minute.split("+").map(Number);
  return {
    side,
    scorer: name,
    minute: base,
    stoppage,
    kind: owngoal === true ? "own goal" : penalty === true ? "penalty" : "goal",
  };
}
