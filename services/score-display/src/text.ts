import type { ScoreUpdate } from "@amqp-idioms/contracts";
import columnsOf from "string-width";

/** The two lines of the 2009 post in one: `AL 24: FL 7  Touch down by Tim Tebow`. */
export function lineOf({ home, away, event }: ScoreUpdate): string {
  return printable(`${home.team} ${home.score}: ${away.team} ${away.score}  ${event}`);
}

/**
 * The board, cut to `columns` and `rows`.
 * @param updates  one per match, the newest first
 */
export function boardOf(
  updates: readonly ScoreUpdate[],
  { columns, rows }: { columns: number; rows: number },
): string[] {
  if (updates.length === 0) return cut(["Scores", "", "No updates yet."], columns, rows);
  // Less the title, the empty line, and the line that counts the other matches
  const fitting = updates.length <= rows - 2 ? updates : updates.slice(0, Math.max(1, rows - 3));
  const width = Math.max(
    ...fitting.flatMap(({ home, away }) => [home, away]).map(({ team }) => columnsOf(printable(team))),
  );
  const lines = fitting.map(({ home, away, event }) => {
    const score = `${String(home.score).padStart(4)} : ${String(away.score).padEnd(4)}`;
    const [host, guest] = [printable(home.team), printable(away.team)];
    return `${fill(host, width)}${host} ${score} ${guest}${fill(guest, width)}  ${printable(event)}`;
  });
  const others = updates.length - fitting.length;
  return cut(["Scores", "", ...lines, ...(others > 0 ? [`and ${others} more`] : [])], columns, rows);
}

/** The spaces that fill up a text to `columns`. An emoji, for example, is two columns wide. */
function fill(text: string, columns: number): string {
  return " ".repeat(columns - columnsOf(text));
}

function cut(lines: readonly string[], columns: number, rows: number): string[] {
  return lines.slice(0, rows).map((line) => cutLine(line.trimEnd(), columns));
}

const graphemes = new Intl.Segmenter();

/** Cuts between what a reader sees as characters, never inside one. */
function cutLine(line: string, columns: number): string {
  if (columnsOf(line) <= columns) return line;
  let start = "";
  let left = columns - 1;
  for (const { segment } of graphemes.segment(line)) {
    left -= columnsOf(segment);
    if (left < 0) break;
    start += segment;
  }
  return `${start}…`;
}

// Control characters, line and paragraph separators, and characters that reverse the direction of text
const controls = /[\p{Cc}\p{Zl}\p{Zp}\u061C\u200E\u200F\u202A-\u202E\u2066-\u2069]+/gu;

/** Received names could otherwise control the terminal. */
function printable(text: string): string {
  return text.replace(controls, " ").trim();
}
