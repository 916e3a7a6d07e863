/**
 * Replaces text inside a declaration of a source. Relies on oxfmt's layout: a declaration ends with the first line that is indented like
 * its first line and starts with a closing bracket.
 * @param symbol  `name` or `Class.member`
 * @throws Error naming the symbol if it does not exist, or if it does not contain the text exactly once
 */
export function patch(source: string, symbol: string, find: string, replacement: string): string {
  let [start, end] = [0, source.length];
  for (const [depth, name] of symbol.split(".").entries()) {
    const found = declarationOf(name, "  ".repeat(depth), source.slice(start, end));
    if (found === undefined) throw new Error(`${symbol} does not exist: was it renamed or moved?`);
    [start, end] = [start + found.start, start + found.end];
  }
  const parts = source.slice(start, end).split(find);
  if (parts.length !== 2)
    throw new Error(`${symbol} contains this text ${parts.length - 1} times instead of once:\n${find}`);
  return source.slice(0, start) + parts.join(replacement) + source.slice(end);
}

function declarationOf(name: string, indent: string, source: string): { start: number; end: number } | undefined {
  const words = "(?:(?:export|abstract|class|function|const|async|static|private|readonly|get|set) )*";
  const first = new RegExp(`^${indent}${words}${name}\\b.*$`, "m").exec(source);
  if (first === null) return undefined;
  const firstEnd = first.index + first[0].length;
  if (first[0].endsWith(";")) return { start: first.index, end: firstEnd };
  // A line such as `): void {` ends the parameters only
  const last = new RegExp(`^${indent}[})\\]](?!.*\\{$).*$`, "m").exec(source.slice(firstEnd));
  return { start: first.index, end: last === null ? source.length : firstEnd + last.index + last[0].length };
}
