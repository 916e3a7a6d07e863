import { scoreUpdates, system } from "@amqp-idioms/contracts";
import type { ScoreUpdate } from "@amqp-idioms/contracts";
import { runService } from "@amqp-idioms/service-kit";
import { connect } from "amqp-kit";
import { InputError } from "./arguments.ts";
import { sendAll } from "./send-all.ts";
import { updatesFor } from "./updates.ts";

const name = "score-producer";

const updates = await updatesFor(process.argv.slice(2)).catch((error: unknown) => {
  if (!(error instanceof InputError)) throw error;
  console.error(error.message);
  process.exit(1);
});

await runService(
  { name, port: 3005, settings: {} },
  async ({ settings, logger, signal, closeOnStop, closeTimeoutMs }) => {
    const { amqpUrls, tls } = settings;
    const amqp = closeOnStop(await connect(amqpUrls, { system, service: name, tls, logger, signal, closeTimeoutMs }));
    const send = (update: ScoreUpdate): Promise<void> => amqp.broadcast(scoreUpdates, update);
    return { isReady: () => amqp.isReady, finished: sendAll(updates, { send, logger, signal }) };
  },
);
