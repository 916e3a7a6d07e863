import { within } from "./within.ts";

export type Closeable = AsyncDisposable | Disposable | (() => unknown);

/** Enough to remove a broker's container on a busy machine. */
const timeoutOfEachMs = 60_000;

/**
 * Closes all resources, newest first, even if some fail. Each has a time limit, since vitest has none for the cleanup of
 * a fixture: without it, a run with a resource that does not close would never end.
 * @throws Error of the resource that failed or was not closed in time; AggregateError if there are several
 */
export async function closeAll(
  opened: readonly Closeable[],
  { timeoutMs = timeoutOfEachMs }: { timeoutMs?: number } = {},
): Promise<void> {
  const errors: unknown[] = [];
  for (const [index, one] of [...opened.entries()].toReversed()) {
    const late = (): Error =>
      new Error(`Resource ${index + 1} of ${opened.length}, ${nameOf(one)}, was not closed within ${timeoutMs} ms.`);
    await within(close(one), timeoutMs, late).catch((error: unknown) => errors.push(error));
  }
  if (errors.length > 1) throw new AggregateError(errors, `${errors.length} resources failed to close.`);
  if (errors.length === 1) throw errors[0];
}

async function close(opened: Closeable): Promise<void> {
  if (typeof opened === "function") await opened();
  else if (Symbol.asyncDispose in opened) await opened[Symbol.asyncDispose]();
  else opened[Symbol.dispose]();
}

function nameOf(opened: Closeable): string {
  if (typeof opened === "function") return `a function: ${String(opened).slice(0, 60)}`;
  // Disposables of node:fs have no prototype
  return "constructor" in opened ? opened.constructor.name : "an object";
}
