import type { Broadcast, Input, Notification, Operation, Output, Roles, System } from "./contract.ts";

/** What a handler learns of a message besides its content. Apart from `attempt` and `redelivered` it is what the sender wrote: information, not proof. */
export interface Delivery {
  readonly messageId: string | undefined;
  /** The header `idempotency-key`, else the message id, else undefined: then nothing can be deduplicated. */
  readonly idempotencyKey: string | undefined;
  readonly sentAt: Date | undefined;
  readonly appId: string | undefined;
  /** The broker has handed this message out before; its effect may have happened. */
  readonly redelivered: boolean;
  /** 1 at first, one more with each retry. */
  readonly attempt: number;
  readonly headers: Readonly<Record<string, unknown>>;
  /** Aborts when the delivery is lost, at the request's time limit, and when `close` runs out of time. */
  readonly signal: AbortSignal;
}

export interface Logger {
  debug(facts: object, message: string): void;
  info(facts: object, message: string): void;
  warn(facts: object, message: string): void;
  error(facts: object, message: string): void;
}

/** One listener, subscriber or responder. */
export interface Consuming {
  /** Takes no more, finishes what is in hand, and leaves; others stay. */
  stop(): Promise<void>;
}

export interface NotifyOptions {
  /** Repeat it when sending again, so that receivers recognise the message. @default a new UUID */
  messageId?: string;
  /** Whole budget in milliseconds, connecting included. @default 10000 */
  timeoutMs?: number;
  signal?: AbortSignal;
}

export interface ListenOptions {
  /** Updates kept for a slow handler, here and in the queue; beyond that the oldest is dropped and counted. @default 1000 */
  maxBuffered?: number;
}

export interface SubscribeOptions {
  /** Messages handled at a time. 1 keeps the order. @default 1 */
  concurrency?: number;
  /** Pauses before each further attempt in milliseconds; after the last one the message is set aside. @default [1000, 5000, 30000, 120000, 600000] */
  retryDelaysMs?: readonly number[];
}

export interface RequestOptions {
  /** Repeat it when asking again, so that the effect happens once. @default the message id, new with each call */
  idempotencyKey?: string;
  /** Whole budget in milliseconds, connecting included. @default the contract's */
  timeoutMs?: number;
  signal?: AbortSignal;
}

export interface RespondOptions {
  /** Requests handled at a time. @default 10 */
  concurrency?: number;
}

type Listed<R extends Roles, K extends keyof Roles, Bound> = R[K] extends readonly (infer C extends Bound)[]
  ? C
  : never;
type Has<R, K extends keyof Roles, Verb> = K extends keyof R ? Verb : unknown;

interface BroadcastVerb<C extends Broadcast> {
  broadcast<T extends C>(contract: T, message: Input<T["message"]>): Promise<void>;
}
interface ListenVerb<C extends Broadcast> {
  listen<T extends C>(
    contract: T,
    handler: (message: Output<T["message"]>, delivery: Delivery) => unknown,
    options?: ListenOptions,
  ): Promise<Consuming>;
}
interface NotifyVerb<C extends Notification> {
  notify<T extends C>(contract: T, message: Input<T["message"]>, options?: NotifyOptions): Promise<void>;
}
interface SubscribeVerb<C extends Notification> {
  subscribe<T extends C>(
    contract: T,
    handler: (message: Output<T["message"]>, delivery: Delivery) => unknown,
    options?: SubscribeOptions,
  ): Promise<Consuming>;
}
interface RequestVerb<C extends Operation> {
  request<T extends C>(
    contract: T,
    request: Input<T["request"]>,
    options?: RequestOptions,
  ): Promise<Output<T["response"]>>;
}
interface RespondVerb<C extends Operation> {
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
  /** Stops taking, finishes what is in hand, flushes confirms, closes. Resolves in time even on a dead link, with the ids of what was not confirmed. Closing twice is fine. */
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

export interface ConnectOptions<S extends System, N extends keyof S & string> {
  system: S;
  service: N;
  logger?: Logger;
  /** Ends the waiting for a broker that is not there yet. */
  signal?: AbortSignal;
  /** How long `close` may take, in milliseconds. @default 5000 */
  closeTimeoutMs?: number;
}

export declare function connect<S extends System, N extends keyof S & string>(
  urls: string | readonly string[],
  options: ConnectOptions<S, N>,
): Promise<Amqp<S[N]>>;
