const escape = "\u001B";
const parts = new RegExp(
  `\\r?\\n|${escape}\\[(?<count>\\d*)(?<code>[FGJm])|${escape}\\[\\?7[lh]|(?<text>[^\\r\\n${escape}]+)`,
  "gy",
);

/** @returns the lines that a terminal shows after this output. It knows only the control codes that the display uses. */
export function screenAfter(output: string): string[] {
  const lines: string[] = [];
  let row = 0;
  let column = 0;
  let understood = 0;
  for (const part of output.matchAll(parts)) {
    understood += part[0].length;
    const { code, count, text } = part.groups ?? {};
    if (part[0].endsWith("\n")) row += 1;
    if (code === "F") row -= Number(count);
    if (part[0].endsWith("\n") || code === "F" || code === "G") column = 0;
    if (code === "J") lines.splice(row, Infinity, (lines[row] ?? "").slice(0, column));
    if (text !== undefined) {
      lines[row] = (lines[row] ?? "").slice(0, column).padEnd(column) + text;
      column += text.length;
    }
  }
  if (understood < output.length)
    throw new Error(`not understood: ${JSON.stringify(output.slice(understood, understood + 20))}`);
  return Array.from(lines, (line: string | undefined) => (line ?? "").trimEnd());
}
