import { ScoreUpdate } from "@amqp-idioms/contracts";
import { ScoreFeed, waitUntil } from "../clients.ts";
import type { RunningService } from "../processes.ts";
import { check, type Observed } from "../report.ts";
import type { Demo } from "./demo.ts";

const oneMatch = ["--speed", "12"];

export async function showScores({ processes, services, signal, print }: Demo): Promise<Observed> {
  const shows = (name: string) => (update: ScoreUpdate) => print(`${name} shows ${textOf(update)}`);
  const first = await ScoreFeed.open(services.display.url, signal, shows("display 1"));
  const leaving = await processes.start("score-display", { name: "score-display 2" });
  const second = await ScoreFeed.open(leaving.url, signal, shows("display 2"));
  const producer = await processes.start("score-producer", { args: oneMatch });

  await waitUntil("display 2 shows two updates", signal, () => second.updates.length >= 2);
  await processes.stop(leaving);
  print("display 2 leaves");
  const late = await processes.start("score-display", { name: "score-display 3" });
  const third = await ScoreFeed.open(late.url, signal, shows("display 3"));
  print("display 3 joins");
  await producer.process.exited;
  await processes.stop(producer);

  const sent = updatesPublishedBy(producer).map(textOf);
  const last = sent.at(-1);
  const hasLast = (feed: ScoreFeed): boolean => last !== undefined && feed.updates.map(textOf).includes(last);
  await waitUntil("displays 1 and 3 show the last update", signal, () => hasLast(first) && hasLast(third), 5_000);
  await processes.stop(late);
  checkShown(sent, [first, second, third]);
  const counts = [first, second, third].map(({ updates }) => updates.length);
  print(`${sent.length} updates were sent; displays 1, 2 and 3 showed ${counts.join(", ")}`);
  const received = {
    "score-display 1": first.updates.map(textOf),
    "score-display 2": second.updates.map(textOf),
    "score-display 3": third.updates.map(textOf),
  };
  return { sent, received };
}

/** The first display was there for all of the match, the second left during it, and the third joined during it. */
function checkShown(sent: readonly string[], feeds: readonly ScoreFeed[]): void {
  const [all, beginning, end] = feeds.map(({ updates }) => updates.map(textOf)) as [string[], string[], string[]];
  check(isSame(all, sent), "display 1 listened all the time, but did not show exactly the updates sent");
  check(isSame(beginning, sent.slice(0, beginning.length)), "display 2 did not show the first of the updates sent");
  check(beginning.length < sent.length, "display 2 left during the match, but shows updates sent later");
  check(isSame(end, sent.slice(sent.length - end.length)), "display 3 did not show the last of the updates sent");
  check(end.length < sent.length, "display 3 joined during the match, but shows updates sent earlier");
}

function updatesPublishedBy(producer: RunningService): ScoreUpdate[] {
  return producer.wire.messages
    .filter(({ direction, exchange }) => direction === "published" && exchange === "score_updates")
    .map(({ body }) => ScoreUpdate.parse(JSON.parse(body)));
}

function isSame(one: readonly string[], other: readonly string[]): boolean {
  return one.join("\n") === other.join("\n");
}

export function textOf({ home, away, event }: ScoreUpdate): string {
  return `${home.team} ${home.score} : ${away.score} ${away.team}, ${event}`;
}
