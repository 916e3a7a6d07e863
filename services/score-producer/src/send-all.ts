import type { ScoreUpdate } from "@amqp-idioms/contracts";
import type { Logger } from "@amqp-idioms/service-kit";
import type { Updates } from "./updates.ts";

/** Sends the updates one after the other and resolves after the last one. Rejects when `signal` aborts. */
export async function sendAll(
  updates: Updates,
  { send, logger, signal }: { send: (update: ScoreUpdate) => Promise<void>; logger: Logger; signal: AbortSignal },
): Promise<void> {
  let sent = 0;
  let invalidLines = 0;
  const onFault = ({ line, reason }: { line: number; reason: string }): void => {
    invalidLines += 1;
    logger.error({ line }, `invalid score update in line ${line} of stdin: ${reason}`);
  };
  for await (const update of updates({ signal, onFault })) {
    await send(update);
    sent += 1;
    const { match, home, away, event } = update;
    logger.info({ match: onOneLine(match), score: `${home.score}:${away.score}` }, onOneLine(event));
  }
  logger.info({ sent, invalidLines }, "all updates sent");
}

/** Text from files and stdin must not control the terminal. */
function onOneLine(text: string): string {
  return text.replaceAll(/\p{Cc}+/gu, " ");
}
