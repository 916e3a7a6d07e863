import type { Broadcast, Input, Notification, Operation, Output, Roles } from "./contract.ts";
import type { Delivery } from "./messages/delivery.ts";
import type { NotifyOptions } from "./notify/notifier.ts";
import type { ListenOptions, RespondOptions, SubscribeOptions } from "./options.ts";
import type { RequestOptions } from "./request-response/requester.ts";

/** One listener, subscriber or responder. */
export interface Consuming {
  /**
   * Stops consuming, waits until the messages in flight are handled, and closes the channel. Other consumers are not affected. A handler that
   * awaits it waits for itself: let it call `stop` without awaiting it.
   */
  stop(): Promise<void>;
}

/** Handles one message. A rejection means that it failed. */
export type Handler<Message> = (message: Message, delivery: Delivery) => unknown;

type Listed<R extends Roles, K extends keyof Roles, Bound> = R[K] extends readonly (infer C extends Bound)[]
  ? C
  : never;
type Has<R, K extends keyof Roles, Verb> = K extends keyof R ? Verb : unknown;

interface BroadcastVerb<C extends Broadcast> {
  /**
   * Sends a message to all listeners that are connected now. Resolves once the message is written to the connection. While the connection is
   * lost or blocked, the message is dropped and counted.
   * @throws {InvalidMessageError} {MessageTooLargeError}
   * @example
   * await amqp.broadcast(scoreUpdated, { match: "AL 24: FL 7", text: "Touchdown" });
   */
  broadcast<T extends C>(contract: T, message: Input<T["message"]>): Promise<void>;
}
interface ListenVerb<C extends Broadcast> {
  /**
   * Starts a listener. Resolves once it consumes on the broker: it receives every message that is sent from then on.
   * @param handler  receives one message at a time, in order. If it rejects, the error is logged and the next message follows
   * @example
   * const listening = await amqp.listen(scoreUpdated, ({ match, text }) => console.log(match, text));
   * await listening.stop();
   */
  listen<T extends C>(contract: T, handler: Handler<Output<T["message"]>>, options?: ListenOptions): Promise<Consuming>;
}
interface NotifyVerb<C extends Notification> {
  /**
   * Publishes a message to every subscriber of the system. Resolves once the broker has confirmed that it stored the message for each.
   * @throws {InvalidMessageError} {MessageTooLargeError} {PublishError} {ConnectionError}; the signal's reason when it aborts
   * @example
   * await amqp.notify(patientAdded, { patientId }, { messageId: patientId });
   */
  notify<T extends C>(contract: T, message: Input<T["message"]>, options?: NotifyOptions): Promise<void>;
}
interface SubscribeVerb<C extends Notification> {
  /**
   * Starts a subscriber. Resolves once it consumes its queue.
   * @param handler  resolves once its effect is stored: then the message is acknowledged. If it rejects, the message is retried after the next
   *   of `retryDelaysMs`; after the last attempt it goes to `<queue>.dead`. It may throw `RetryLater` to choose the delay, or `Reject` if no
   *   attempt can succeed. The same message may come twice: use `delivery.idempotencyKey` to recognise it
   * @throws {TopologyError} the queue cannot be declared
   * @example
   * await amqp.subscribe(patientAdded, async ({ patientId }, { idempotencyKey, signal }) => {
   *   await bookFirstVisit(patientId, idempotencyKey, signal);
   * });
   */
  subscribe<T extends C>(
    contract: T,
    handler: Handler<Output<T["message"]>>,
    options?: SubscribeOptions,
  ): Promise<Consuming>;
}
interface RequestVerb<C extends Operation> {
  /**
   * Sends a request and resolves with the validated answer of one responder.
   * @throws {NoResponderError} within 500 ms, if no responder consumes the request queue
   * @throws {RequestTimeoutError} no answer within the time limit. The request may have been executed: repeat it under the same idempotency key
   * @throws {OperationError} an error that the contract declares
   * @throws {RemoteError} any other error that the responder answered
   * @throws {InvalidMessageError} {MessageTooLargeError} {ConnectionError} {PublishError} {TooManyRequestsError}; the signal's reason when it aborts
   * @example
   * try {
   *   const { patientId } = await amqp.request(addPatient, { name: "Zaphod" }, { idempotencyKey: form.id });
   * } catch (error) {
   *   if (OperationError.is(error, addPatient, "already_exists")) return error.details.patientId;
   *   throw error;
   * }
   */
  request<T extends C>(
    contract: T,
    request: Input<T["request"]>,
    options?: RequestOptions,
  ): Promise<Output<T["response"]>>;
}
interface RespondVerb<C extends Operation> {
  /**
   * Starts a responder. Resolves once it consumes the request queue, which all responders of the operation share.
   * @param handler  resolves with the answer, or throws an `OperationError` that the contract declares. The requester gets any other error as
   *   `internal_error`, without its text
   * @throws {TopologyError} exchange or queue cannot be declared
   * @example
   * await amqp.respond(addPatient, async ({ name }) => {
   *   const known = await find(name);
   *   if (known) throw new OperationError(addPatient, "already_exists", { patientId: known.id });
   *   return { patientId: await insert(name) };
   * });
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
  /** All connections are open and all consumers consume. `/readyz` reports this. */
  readonly isReady: boolean;
  /**
   * Stops consuming, waits until the messages in flight are handled and sent ones are confirmed, then closes the connections. Takes at most
   * `closeTimeoutMs`, even on a dead link. Further calls return the same promise.
   * @returns the ids of the messages that the broker has not confirmed
   */
  close(): Promise<string[]>;
}

/** The verbs of the roles that a service has, and no others. Returned by `connect`. */
export type Amqp<R extends Roles> = Lifecycle &
  Has<R, "broadcasts", BroadcastVerb<Listed<R, "broadcasts", Broadcast>>> &
  Has<R, "listens", ListenVerb<Listed<R, "listens", Broadcast>>> &
  Has<R, "notifies", NotifyVerb<Listed<R, "notifies", Notification>>> &
  Has<R, "subscribes", SubscribeVerb<Listed<R, "subscribes", Notification>>> &
  Has<R, "requests", RequestVerb<Listed<R, "requests", Operation>>> &
  Has<R, "responds", RespondVerb<Listed<R, "responds", Operation>>>;
