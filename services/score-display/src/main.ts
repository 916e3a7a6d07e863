import { scoreUpdates, system } from "@amqp-idioms/contracts";
import { runService } from "@amqp-idioms/service-kit";
import { connect } from "amqp-kit";
import { EventStream } from "./event-stream.ts";
import { scoresApi } from "./http.ts";
import { Scoreboard } from "./scoreboard.ts";
import { Terminal } from "./terminal.ts";
import { lineOf } from "./text.ts";

const name = "score-display";

const scoreboard = new Scoreboard();
const canDraw = process.stdout.isTTY && process.env["TERM"] !== "dumb";
const terminal = canDraw ? new Terminal(process.stdout, () => scoreboard.newest()) : undefined;

await runService(
  { name, port: 3001, settings: {}, terminal },
  async ({ settings, logger, signal, http, closeOnStop, closeTimeoutMs }) => {
    const { amqpUrls, tls } = settings;
    terminal?.open();
    scoreboard.onUpdate(({ update }) => (terminal ? terminal.redraw() : process.stdout.write(`${lineOf(update)}\n`)));
    await http.register(scoresApi(scoreboard, new EventStream(scoreboard)));
    const amqp = closeOnStop(await connect(amqpUrls, { system, service: name, tls, logger, signal, closeTimeoutMs }));
    await amqp.listen(scoreUpdates, (update) => scoreboard.show(update));
    return { isReady: () => amqp.isReady };
  },
);
