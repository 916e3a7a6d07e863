/** Messages as large as those of the six services, with as much validation. */
import { broadcast, defineSystem, notification, operation } from "amqp-kit";
import { z } from "zod";

const Message = z.object({
  id: z.uuid(),
  name: z.string().min(1).max(200),
  at: z.iso.datetime(),
  text: z.string().max(500),
});

export const message: z.output<typeof Message> = {
  id: "0193d3a2-52c4-7f3e-9f5c-2f4f4b1a7c11",
  name: "Harbour Cup: Old Mill Rovers - Seaside United",
  at: "2026-06-01T18:30:00.000Z",
  text: "Goal by Yuki Tanaka, 90+4'; the state of the match as a whole, so that a missed one does no harm",
};

export const updates = broadcast("bench.updates", { message: Message });
export const events = notification("bench.events", { message: Message });
export const echo = operation("bench_echo", {
  exchange: "bench.api",
  request: Message,
  response: Message,
  timeoutMs: 10_000,
});

export const system = defineSystem({
  sender: { broadcasts: [updates], notifies: [events], requests: [echo] },
  receiver: { listens: [updates], subscribes: [events], responds: [echo] },
});

/** The queue of the one subscriber. */
export const subscriptionQueue = "bench.events.receiver";
