/**
 * Aborts the socket of a node that gives no answer for `intervalMs`. A node that is cut off from its cluster keeps its clients and answers
 * what only reads, but changes and confirms nothing.
 * @param options.isExempt  true while the node need not answer, because it is blocked
 * @param options.hasProgress  true if answers have come since the last call. Called once per interval
 * @returns a function that stops the watchdog
 */
export function watchdog(options: {
  intervalMs: number;
  abortSocket: AbortController;
  isExempt: () => boolean;
  hasProgress: () => boolean;
}): () => void {
  const { intervalMs, abortSocket, isExempt, hasProgress } = options;
  let isStopped = false;
  const check = (): void => {
    if (isStopped || isExempt() || hasProgress()) return;
    abortSocket.abort(new Error(`it gave no answer for ${intervalMs} ms, the next address is tried`));
  };
  // If this process itself was frozen, setImmediate lets it read its socket before it judges the node.
  const timer = setInterval(() => setImmediate(check), intervalMs);
  return () => {
    isStopped = true;
    clearInterval(timer);
  };
}
