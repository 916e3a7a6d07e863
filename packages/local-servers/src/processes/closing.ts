import { within } from "./within.ts";

export type Closeable = AsyncDisposable | Disposable | (() => unknown);

/** Enough to remove a broker's container on a busy machine. */
const timeoutOfEachMs = 60_000;

/**
 * Closes what was opened, newest first, and all of it, also when one fails. Each has a time limit: vitest sets none to what a fixture
 * cleans up, so that a run with something that does not close would not end.
 * @throws Error what failed, or what was not closed in time; AggregateError when that are several
 */
export async function closeAll(
  opened: readonly Closeable[],
  { timeoutMs = timeoutOfEachMs }: { timeoutMs?: number } = {},
): Promise<void> {
  const errors: unknown[] = [];
  for (const [index, one] of [...opened.entries()].toReversed()) {
    const late = (): Error =>
      new Error(
        `What was opened as ${index + 1} of ${opened.length}, ${nameOf(one)}, was not closed within ${timeoutMs} ms.`,
      );
    await within(close(one), timeoutMs, late).catch((error: unknown) => errors.push(error));
  }
  if (errors.length > 1) throw new AggregateError(errors, `${errors.length} of what was opened could not be closed.`);
  if (errors.length === 1) throw errors[0];
}

async function close(opened: Closeable): Promise<void> {
  if (typeof opened === "function") await opened();
  else if (Symbol.asyncDispose in opened) await opened[Symbol.asyncDispose]();
  else opened[Symbol.dispose]();
}

function nameOf(opened: Closeable): string {
  if (typeof opened === "function") return `a function: ${String(opened).slice(0, 60)}`;
  // Those of node:fs have no prototype
  return "constructor" in opened ? opened.constructor.name : "an object";
}
