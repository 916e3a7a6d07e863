import { createVirtualHost } from "@amqp-idioms/local-servers";
import { connect } from "amqp-kit";
import { bareConnection, bareRequestResponse } from "./bare.ts";
import type { BenchServers, Figure } from "./figure.ts";
import { asked, message, system } from "./contracts.ts";
import { rateOf } from "./rate.ts";

/** One requester, one responder that answers at once, so many questions at a time. */
export async function measureRequests(url: string, callers: number, seconds: number): Promise<Figure> {
  return {
    what: `request/response, ${callers} at a time`,
    unit: "requests/s",
    kit: await byKit(url, callers, seconds),
    amqplib: await byAmqplib(url, callers, seconds),
  };
}

/** The same over a request queue that is replicated, which it is wherever the default queue type is quorum. */
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
  await using responder = await connect(url, { system, service: "hearer" });
  await using requester = await connect(url, { system, service: "teller" });
  await responder.respond(asked, (question) => question);
  return await rateOf(seconds, callers, () => requester.request(asked, message));
}

async function byAmqplib(url: string, callers: number, seconds: number): Promise<number> {
  const connection = await bareConnection(url);
  try {
    const ask = await bareRequestResponse(connection, "bench_bare_asked");
    return await rateOf(seconds, callers, async () =>
      JSON.parse((await ask(Buffer.from(JSON.stringify(message)))).toString()),
    );
  } finally {
    await connection.close();
  }
}
