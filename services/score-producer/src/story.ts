import type { ScoreUpdate } from "@amqp-idioms/contracts";
import type { Goal, Match, Score } from "./football-json.ts";

/** An update without its time, and how many minutes of the match pass before it. */
export interface Moment {
  readonly minutesBefore: number;
  readonly update: Omit<ScoreUpdate, "at">;
}

/** The updates of a match: kick-off, each goal, final whistle. */
export function storyOf(match: Match): Moment[] {
  const moment = (minutesBefore: number, [home, away]: Score, event: string): Moment => ({
    minutesBefore,
    update: {
      match: nameOf(match),
      home: { team: match.home, score: home },
      away: { team: match.away, score: away },
      event,
    },
  });

  const moments = [moment(0, [0, 0], "Kick-off")];
  let score: Score = [0, 0];
  let clock: Clock = { minute: 0, stoppage: 0 };
  for (const goal of match.goals) {
    score = goal.side === "home" ? [score[0] + 1, score[1]] : [score[0], score[1] + 1];
    moments.push(moment(minutesBetween(clock, goal), score, goalSentence(goal)));
    clock = goal;
  }
  // A file's goals may be missing, or be listed under the wrong team: its result is right
  const final = match.result ?? score;
  const end = { minute: match.hadExtraTime ? 120 : 90, stoppage: 0 };
  moments.push(moment(minutesBetween(clock, end), final, finalSentence(match)));
  return moments;
}

export function nameOf({ round, home, away }: Match): string {
  return round === undefined ? `${home} - ${away}` : `${round}: ${home} - ${away}`;
}

/** `Goal by Kylian Mbappé, 118' (penalty)` */
function goalSentence({ scorer, minute, stoppage, kind }: Goal): string {
  const time = stoppage > 0 ? `${minute}+${stoppage}'` : `${minute}'`;
  return `Goal by ${scorer}, ${time}${kind === "goal" ? "" : ` (${kind})`}`;
}

/** A shoot-out decides the match and does not change its score. */
function finalSentence({ home, away, hadExtraTime, shootOut }: Match): string {
  const sentence = hadExtraTime ? "Final whistle after extra time" : "Final whistle";
  if (shootOut === undefined) return sentence;
  const [forHome, forAway] = shootOut;
  const winner = forHome > forAway ? home : away;
  return `${sentence}, ${winner} win ${Math.max(forHome, forAway)}-${Math.min(forHome, forAway)} on penalties`;
}

interface Clock {
  readonly minute: number;
  readonly stoppage: number;
}

/** From 45+3 to 46 it is one minute, since the clock is set back at the break. */
function minutesBetween(from: Clock, to: Clock): number {
  if (to.minute > from.minute) return to.minute - from.minute + to.stoppage;
  return Math.max(0, to.stoppage - from.stoppage);
}
