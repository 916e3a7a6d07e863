/** What vitest's main process, which holds the servers of the run, and its workers say to each other: JSON over HTTP on 127.0.0.1. */
import { request } from "node:http";
import { json } from "node:stream/consumers";
import { inject } from "vitest";
import type { RabbitMq, RabbitMqSource, SharedBroker } from "../rabbitmq/broker.ts";

export interface SharedServers {
  broker: SharedBroker;
  /** Either a URL or the reason why there is none */
  postgres: { url: string | undefined; reason: string | undefined };
}

/** What a worker knows of a broker of the pool. */
export type LeasedBroker = Pick<RabbitMq, "url" | "managementUrl" | "source" | "version" | "isOwned" | "installed"> & {
  id: string;
};

type Actions = {
  [Name in keyof RabbitMq]: RabbitMq[Name] extends (...parameters: never[]) => Promise<void> ? Name : never;
}[keyof RabbitMq];

/** What a worker may have the main process do to a broker that it has leased. */
export type BrokerAction = Exclude<Actions, "close" | typeof Symbol.asyncDispose>;

/** Question → its parameters and its answer */
export interface RunApi {
  /** The servers that all tests of the run share; the first question starts them. */
  "shared-servers": { asks: undefined; answer: SharedServers };
  /** A folder with an empty embedded database, to be copied; the first question creates it. */
  "embedded-database": { asks: undefined; answer: { folder: string } };
  "lease-broker": { asks: { from: readonly RabbitMqSource[] }; answer: LeasedBroker };
  "broker-action": { asks: { id: string; action: BrokerAction; parameters: unknown[] }; answer: undefined };
  "release-broker": { asks: { id: string }; answer: undefined };
}

/** Sends a question to the main process and resolves with its answer. @throws {Error} with the message of the main process */
export async function ask<Question extends keyof RunApi>(
  question: Question,
  parameters: RunApi[Question]["asks"],
): Promise<RunApi[Question]["answer"]> {
  const { promise, resolve, reject } = Promise.withResolvers<unknown>();
  // Not fetch, which gives up after five minutes: an image may have to be fetched
  const asking = request(
    { host: "127.0.0.1", port: inject("localServersPort"), path: `/${question}`, method: "POST", agent: false },
    (response) => void json(response).then(resolve, reject),
  );
  asking.on("error", reject).end(JSON.stringify({ parameters }));
  const { answer, error } = (await promise) as { answer: RunApi[Question]["answer"]; error?: string };
  if (error !== undefined) throw new Error(error);
  return answer;
}

declare module "vitest" {
  export interface ProvidedContext {
    localServersPort: number;
  }
}
