import type { ScoreUpdate } from "@amqp-idioms/contracts";
import type { Logger } from "@amqp-idioms/service-kit";
import type { Updates } from "./updates.ts";

/** Sends one update after the other, no faster than they are taken, and resolves after the last one; rejects when `signal` aborts. */
export async function sendAll(
  updates: Updates,
  { send, logger, signal }: { send: (update: ScoreUpdate) => Promise<void>; logger: Logger; signal: AbortSignal },
): Promise<void> {
  let sent = 0;
  let wrongLines = 0;
  const onFault = ({ line, reason }: { line: number; reason: string }): void => {
    wrongLines += 1;
    logger.error({ line }, `line ${line} of stdin is no score update: ${reason}`);
  };
  for await (const update of updates({ signal, onFault })) {
    await send(update);
    sent += 1;
    const { match, home, away, event } = update;
    logger.info({ match: onOneLine(match), score: `${home.score}:${away.score}` }, onOneLine(event));
  }
  logger.info({ sent, wrongLines }, "all is told");
}

/** Texts come from files and stdin: on a terminal they must not steer it. */
function onOneLine(text: string): string {
  return text.replaceAll(/\p{Cc}+/gu, " ");
}
