import { connect } from "amqp-kit";
import { bareBroadcast, bareConnection } from "./bare.ts";
import type { Figure } from "./figure.ts";
import { message, system, updates } from "./contracts.ts";
import { counter, median, rateOf } from "./rate.ts";

/** Updates sent in a row, before waiting for the listeners: fewer than they buffer, so that none is dropped. */
const burst = 200;

/** One sender and several listeners, each with its own queue: all deliveries per second, and the time until the last listener has an update. */
export async function measureBroadcast(url: string, listeners: number, seconds: number): Promise<Figure[]> {
  const kit = await measured(seconds, listeners, async (onDelivery) => {
    const sender = await connect(url, { system, service: "sender" });
    const receiver = await connect(url, { system, service: "receiver" });
    await Promise.all(Array.from({ length: listeners }, () => receiver.listen(updates, onDelivery)));
    const close = async (): Promise<unknown> => Promise.all([sender.close(), receiver.close()]);
    return { send: () => sender.broadcast(updates, message), close };
  });
  const amqplib = await measured(seconds, listeners, async (onDelivery) => {
    const connection = await bareConnection(url);
    const send = await bareBroadcast(connection, { exchange: "bench.bare", listeners, onDelivery });
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
  open: (onDelivery: () => void) => Promise<Broadcasting>,
): Promise<{ rate: number; ms: number }> {
  let deliveries = counter(0);
  const { send, close } = await open(() => deliveries.count());
  try {
    const sendAndWait = async (count: number): Promise<void> => {
      deliveries = counter(count * listeners);
      await Promise.all(Array.from({ length: count }, send));
      await deliveries.done;
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
