import type { Connection } from "../broker/connection.ts";
import { inspectQueue } from "../broker/topology.ts";
import { NoResponderError } from "../errors.ts";
import type { PendingRequest } from "./pending-request.ts";
import { messageOf } from "../telemetry/log.ts";
import type { Logger } from "../telemetry/log.ts";

export interface CheckIntervals {
  /** A request that has no reply after this long starts the checks. */
  firstCheckMs: number;
  /** Pause between two checks while requests are pending. */
  checkIntervalMs: number;
}

/** Fails confirmed requests whose queue is missing or has no consumer. Checks each operation once, however many requests wait for it. */
export class ResponderCheck {
  readonly #connection: Connection;
  readonly #pending: ReadonlyMap<string, PendingRequest>;
  readonly #logger: Logger;
  readonly #intervals: CheckIntervals;
  #timer: NodeJS.Timeout | undefined;

  constructor(
    connection: Connection,
    pending: ReadonlyMap<string, PendingRequest>,
    logger: Logger,
    intervals: CheckIntervals,
  ) {
    this.#connection = connection;
    this.#pending = pending;
    this.#logger = logger;
    this.#intervals = intervals;
  }

  /** Schedules the first check, unless one is scheduled or running. */
  start(): void {
    this.#schedule(this.#intervals.firstCheckMs);
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
    if (this.#pending.size > 0) this.#schedule(this.#intervals.checkIntervalMs);
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
