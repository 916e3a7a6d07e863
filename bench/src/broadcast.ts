import { connect } from "amqp-kit";
import { bareBroadcast, bareConnection } from "./bare.ts";
import type { Figure } from "./figure.ts";
import { message, system, told } from "./contracts.ts";
import { counter, median, rateOf } from "./rate.ts";

/** Sent before the listeners are waited for: less than they may buffer, so that nothing is dropped. */
const burst = 200;

/** One sender, so many listeners, each with a queue of its own: what all of them get per second, and how long one update takes to reach the last. */
export async function measureBroadcast(url: string, listeners: number, seconds: number): Promise<Figure[]> {
  const kit = await measured(seconds, listeners, async (heard) => {
    const teller = await connect(url, { system, service: "teller" });
    const hearer = await connect(url, { system, service: "hearer" });
    await Promise.all(Array.from({ length: listeners }, () => hearer.listen(told, heard)));
    const close = async (): Promise<unknown> => Promise.all([teller.close(), hearer.close()]);
    return { send: () => teller.broadcast(told, message), close };
  });
  const amqplib = await measured(seconds, listeners, async (heard) => {
    const connection = await bareConnection(url);
    const send = await bareBroadcast(connection, { exchange: "bench.bare", listeners, heard });
    const body = Buffer.from(JSON.stringify(message));
    return { send: async () => send(body), close: () => connection.close() };
  });
  const who = `${listeners} ${listeners === 1 ? "listener" : "listeners"}`;
  return [
    { what: `broadcast, ${who}`, unit: "deliveries/s", kit: kit.rate, amqplib: amqplib.rate },
    { what: `broadcast, ${who}, until the last has one update`, unit: "ms", kit: kit.ms, amqplib: amqplib.ms },
  ];
}

interface Broadcasting {
  send: () => Promise<void>;
  close: () => Promise<unknown>;
}

async function measured(
  seconds: number,
  listeners: number,
  open: (heard: () => void) => Promise<Broadcasting>,
): Promise<{ rate: number; ms: number }> {
  let heard = counter(0);
  const { send, close } = await open(() => heard.count());
  try {
    const sendAndWait = async (updates: number): Promise<void> => {
      heard = counter(updates * listeners);
      await Promise.all(Array.from({ length: updates }, send));
      await heard.done;
    };
    const bursts = await rateOf(seconds, 1, () => sendAndWait(burst));
    const times: number[] = [];
    await rateOf(seconds / 4, 1, async () => {
      const sentAt = performance.now();
      await sendAndWait(1);
      times.push(performance.now() - sentAt);
    });
    return { rate: bursts * burst * listeners, ms: median(times) };
  } finally {
    await close();
  }
}
