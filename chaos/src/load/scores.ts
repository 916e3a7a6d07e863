import type { ScoreUpdate } from "@amqp-idioms/contracts";
import { monotonicMs } from "../clock.ts";
import type { Ledger } from "../ledger.ts";
import type { Replica } from "../replica.ts";

/** Score updates, written to the stdin of the real score-producer and read from the output of the displays. */

const updateEveryMs = 100;
const printed = /Chaos \d+: Order \d+ {2}update (\d+)$/;

export class Scores {
  readonly #producer: Replica;
  readonly #ledger: Ledger;
  #timer: NodeJS.Timeout | undefined;

  constructor(producer: Replica, displays: readonly Replica[], ledger: Ledger) {
    this.#producer = producer;
    this.#ledger = ledger;
    for (const display of displays) {
      display.onLine(({ text }, life) => {
        const number = printed.exec(text)?.[1];
        if (number === undefined) return;
        ledger.shown.push({ display: display.name, life, at: monotonicMs(), number: Number(number) });
      });
    }
  }

  start(): void {
    this.#timer ??= setInterval(() => this.#send(), updateEveryMs);
  }

  pause(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  #send(): void {
    const number = this.#ledger.updates.length + 1;
    const update: ScoreUpdate = {
      match: "Chaos - Order",
      home: { team: "Chaos", score: number % 10_000 },
      away: { team: "Order", score: 0 },
      event: `update ${number}`,
      at: new Date().toISOString(),
    };
    this.#ledger.updates.push({ number, at: monotonicMs() });
    this.#producer.process?.write(`${JSON.stringify(update)}\n`);
  }
}
