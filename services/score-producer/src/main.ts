import { scoreUpdates, system } from "@amqp-idioms/contracts";
import { runService } from "@amqp-idioms/service-kit";
import { connect } from "amqp-kit";
import { readArguments } from "./arguments.ts";
import { updatesFrom } from "./updates.ts";

await runService(
  { name: "score-producer", port: 3005, settings: {} },
  async ({ settings, logger, signal, own, closeTimeoutMs }) => {
    let wrongLines = 0;
    const updates = await updatesFrom(readArguments(process.argv.slice(2)), {
      signal,
      onFault: ({ line, reason }) => {
        wrongLines += 1;
        logger.error({ line }, `line ${line} of stdin is no score update: ${reason}`);
      },
    });
    const amqp = own(
      await connect(settings.amqpUrls, { system, service: "score-producer", logger, signal, closeTimeoutMs }),
    );

    const sendAll = async (): Promise<void> => {
      let sent = 0;
      for await (const update of updates) {
        await amqp.broadcast(scoreUpdates, update);
        sent += 1;
        const { match, home, away, event } = update;
        logger.info({ match: onOneLine(match), score: `${home.score}:${away.score}` }, onOneLine(event));
      }
      if (!signal.aborted) logger.info({ sent, wrongLines }, "all is told");
    };
    return { isReady: () => amqp.isReady, finished: sendAll() };
  },
);

/** Texts come from files and stdin: on a terminal they must not steer it. */
function onOneLine(text: string): string {
  return text.replaceAll(/\p{Cc}+/gu, " ");
}
