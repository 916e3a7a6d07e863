import type { Connection } from "../broker/connection.ts";
import { inspectQueue } from "../broker/topology.ts";
import { NoResponderError } from "../errors.ts";
import type { PendingRequest } from "./pending-request.ts";
import { messageOf } from "../telemetry/log.ts";
import type { Logger } from "../telemetry/log.ts";

/** A request that has no reply after this long starts the checks. */
const firstCheckMs = 100;
/** Pause between two checks while requests are pending. */
const checkIntervalMs = 250;

/** Fails confirmed requests whose queue is missing or has no consumer. Checks each operation once, however many requests wait for it. */
export class ResponderCheck {
  readonly #connection: Connection;
  readonly #pending: ReadonlyMap<string, PendingRequest>;
  readonly #logger: Logger;
  #timer: NodeJS.Timeout | undefined;

  constructor(connection: Connection, pending: ReadonlyMap<string, PendingRequest>, logger: Logger) {
    this.#connection = connection;
    this.#pending = pending;
    this.#logger = logger;
  }

  /** Schedules the first check, unless one is scheduled or running. */
  start(): void {
    this.#schedule(firstCheckMs);
  }

  stop(): void {
    clearTimeout(this.#timer);
  }

  #schedule(delayMs: number): void {
    this.#timer ??= setTimeout(() => void this.#check(), delayMs);
  }

  async #check(): Promise<void> {
    const confirmed = [...this.#pending.values()].filter(({ isConfirmed }) => isConfirmed);
    for (const [operation, requests] of Map.groupBy(confirmed, (request) => request.operation)) {
      try {
        const queue = await inspectQueue(this.#connection, operation.name);
        const why = queue === undefined ? "its queue was deleted with the request in it" : "its queue has no consumers";
        for (const { settle } of abandoned(requests, queue)) settle(new NoResponderError(operation, "unknown", why));
      } catch (error) {
        this.#logger.debug({ contract: operation.name, error: messageOf(error) }, "cannot check for a responder");
      }
    }
    this.#timer = undefined;
    if (this.#pending.size > 0) this.#schedule(checkIntervalMs);
  }
}

/**
 * A responder that is stopping has left the queue but still answers the requests that it has accepted. Only the requests in the queue are
 * abandoned. A queue is first in, first out: these are the newest, as many as the queue holds.
 */
function abandoned(
  requests: readonly PendingRequest[],
  queue: { messageCount: number; consumerCount: number } | undefined,
): readonly PendingRequest[] {
  if (queue === undefined) return requests;
  if (queue.consumerCount > 0 || queue.messageCount === 0) return [];
  return requests.slice(-queue.messageCount);
}
