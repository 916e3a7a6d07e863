import { createVirtualHost } from "@amqp-idioms/local-servers";
import { connect } from "amqp-kit";
import { bareConnection, bareRequestResponse } from "./bare.ts";
import type { BenchServers, Figure } from "./figure.ts";
import { echo, message, system } from "./contracts.ts";
import { rateOf } from "./rate.ts";

/** One requester with `callers` requests in flight, and one responder that answers immediately. */
export async function measureRequests(url: string, callers: number, seconds: number): Promise<Figure> {
  return {
    what: `request/response, ${callers} at a time`,
    unit: "requests/s",
    kit: await byKit(url, callers, seconds),
    amqplib: await byAmqplib(url, callers, seconds),
  };
}

/** The same with a replicated request queue, as it is where the default queue type is quorum. */
export async function measureReplicatedRequests(
  broker: BenchServers["broker"],
  callers: number,
  seconds: number,
): Promise<Figure> {
  await using vhost = await createVirtualHost(broker, { defaultQueueType: "quorum" });
  const kit = await byKit(vhost.url, callers, seconds);
  return { what: `request/response, ${callers} at a time, quorum queue`, unit: "requests/s", kit };
}

async function byKit(url: string, callers: number, seconds: number): Promise<number> {
  await using responder = await connect(url, { system, service: "receiver" });
  await using requester = await connect(url, { system, service: "sender" });
  await responder.respond(echo, (received) => received);
  return await rateOf(seconds, callers, () => requester.request(echo, message));
}

async function byAmqplib(url: string, callers: number, seconds: number): Promise<number> {
  const connection = await bareConnection(url);
  try {
    const request = await bareRequestResponse(connection, "bench_bare_echo");
    return await rateOf(seconds, callers, async () =>
      JSON.parse((await request(Buffer.from(JSON.stringify(message)))).toString()),
    );
  } finally {
    await connection.close();
  }
}
