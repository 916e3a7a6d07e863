import type { Broadcast, Input, Notification, Operation, Output, Roles } from "./contract.ts";
import type { Delivery } from "./messages/delivery.ts";
import type { NotifyOptions } from "./notify/notifier.ts";
import type { ListenOptions, RespondOptions, SubscribeOptions } from "./options.ts";
import type { RequestOptions } from "./request-response/requester.ts";

/** One listener, subscriber or responder. */
export interface Consuming {
  /** Takes no more, finishes what is in hand, and leaves; others stay. A handler that awaits it waits for itself: let it call and go on. */
  stop(): Promise<void>;
}

export type Handler<Message> = (message: Message, delivery: Delivery) => unknown;

type Listed<R extends Roles, K extends keyof Roles, Bound> = R[K] extends readonly (infer C extends Bound)[]
  ? C
  : never;
type Has<R, K extends keyof Roles, Verb> = K extends keyof R ? Verb : unknown;

interface BroadcastVerb<C extends Broadcast> {
  /**
   * Tells whoever listens now. Resolves once the message is written; while disconnected or blocked it is dropped and counted.
   * @throws {InvalidMessageError} {MessageTooLargeError}
   */
  broadcast<T extends C>(contract: T, message: Input<T["message"]>): Promise<void>;
}
interface ListenVerb<C extends Broadcast> {
  /**
   * Resolves once the listener stands on the broker: it gets everything sent from then on.
   * @param handler  is given one update at a time, in order; an error is logged, and the next update follows
   */
  listen<T extends C>(contract: T, handler: Handler<Output<T["message"]>>, options?: ListenOptions): Promise<Consuming>;
}
interface NotifyVerb<C extends Notification> {
  /**
   * Resolves once the broker has the message safe for every subscriber of the system.
   * @throws {InvalidMessageError} {MessageTooLargeError} {PublishError} {ConnectionError}; the signal's reason when it aborts
   */
  notify<T extends C>(contract: T, message: Input<T["message"]>, options?: NotifyOptions): Promise<void>;
}
interface SubscribeVerb<C extends Notification> {
  /**
   * Resolves once the subscriber stands on its queue.
   * @param handler  resolves when the effect is safe: then the message is acknowledged. A rejection leads to another attempt,
   *   after the last one the message is set aside in `<queue>.dead`. `RetryLater` says when, `Reject` that no attempt makes sense.
   *   The same message may come twice: use the message id.
   * @throws {TopologyError} the queue cannot be declared
   */
  subscribe<T extends C>(
    contract: T,
    handler: Handler<Output<T["message"]>>,
    options?: SubscribeOptions,
  ): Promise<Consuming>;
}
interface RequestVerb<C extends Operation> {
  /**
   * Asks, and resolves with the responder's validated answer.
   * @throws {NoResponderError} within 500 ms, when nobody answers this operation now
   * @throws {RequestTimeoutError} no answer in time; it may have run: repeat it under the same idempotency key
   * @throws {OperationError} an error that the contract declares {RemoteError} any other that the responder answered
   * @throws {InvalidMessageError} {MessageTooLargeError} {ConnectionError} {PublishError} {TooManyRequestsError}; the signal's reason when it aborts
   */
  request<T extends C>(
    contract: T,
    request: Input<T["request"]>,
    options?: RequestOptions,
  ): Promise<Output<T["response"]>>;
}
interface RespondVerb<C extends Operation> {
  /**
   * Resolves once the responder stands on the request queue, which it shares with all others.
   * @param handler  resolves with the answer, or throws an `OperationError` that the contract declares; anything else it throws
   *   reaches the requester as a plain failure
   * @throws {TopologyError} exchange or queue cannot be declared
   */
  respond<T extends C>(
    contract: T,
    handler: (
      request: Output<T["request"]>,
      delivery: Delivery,
    ) => Input<T["response"]> | Promise<Input<T["response"]>>,
    options?: RespondOptions,
  ): Promise<Consuming>;
}

interface Lifecycle extends AsyncDisposable {
  /** Every consumer that was asked for stands on the broker: what `/readyz` says. */
  readonly isReady: boolean;
  /**
   * Stops taking, finishes what is in hand, flushes confirms, closes. Closing twice is fine.
   * @returns in time also on a dead link, the ids of what was not confirmed
   */
  close(): Promise<string[]>;
}

/** The verbs of the roles that a service has, and no others. */
export type Amqp<R extends Roles> = Lifecycle &
  Has<R, "broadcasts", BroadcastVerb<Listed<R, "broadcasts", Broadcast>>> &
  Has<R, "listens", ListenVerb<Listed<R, "listens", Broadcast>>> &
  Has<R, "notifies", NotifyVerb<Listed<R, "notifies", Notification>>> &
  Has<R, "subscribes", SubscribeVerb<Listed<R, "subscribes", Notification>>> &
  Has<R, "requests", RequestVerb<Listed<R, "requests", Operation>>> &
  Has<R, "responds", RespondVerb<Listed<R, "responds", Operation>>>;
