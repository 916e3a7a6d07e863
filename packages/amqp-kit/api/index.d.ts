export declare class AmqpKitError extends Error {
  readonly code: AmqpKitErrorCode;
  readonly retryable: boolean;
  constructor(code: AmqpKitErrorCode, message: string, retryable: boolean, cause?: unknown);
}
export declare class ClosedError extends AmqpKitError {
  readonly outcome: Outcome;
  constructor(message: string, outcome?: Outcome);
}
export declare class ConnectionError extends AmqpKitError {
  readonly outcome: Outcome;
  constructor(message: string, facts: {
    retryable: boolean;
    outcome?: Outcome;
    cause?: unknown;
  });
}
export declare class InvalidMessageError extends AmqpKitError {
  readonly contract: string;
  readonly issues: readonly Issue[];
  constructor(contract: string, issues: readonly Issue[]);
}
export declare class MessageTooLargeError extends AmqpKitError {
  readonly contract: string;
  readonly bytes: number;
  readonly maxBytes: number;
  constructor(contract: string, part: "body" | "headers", bytes: number, maxBytes: number);
}
export declare class NoResponderError extends AmqpKitError {
  readonly contract: string;
  readonly exchange: string;
  readonly outcome: Outcome;
  constructor(operation: Operation, outcome: Outcome, why: string);
}
export declare class OperationError<O extends Operation = Operation, N extends ErrorName<O> = ErrorName<O>> extends AmqpKitError {
  readonly contract: string;
  readonly error: N;
  readonly details: ErrorDetails<O, N>;
  constructor(operation: O, error: N, details: ErrorDetails<O, N>);
  static is<O extends Operation, N extends ErrorName<O>>(error: unknown, operation: O, name: N): error is OperationError<O, N>;
}
export declare class PublishError extends AmqpKitError {
  readonly reason: PublishFailure;
  readonly outcome: Outcome;
  readonly exchange: string;
  readonly routingKey: string;
  readonly messageId: string | undefined;
  constructor(message: string, facts: {
    reason: PublishFailure;
    exchange: string;
    routingKey: string;
    messageId: string | undefined;
    cause?: unknown;
  });
}
export declare class Reject extends AmqpKitError {
  constructor(reason: string);
}
export declare class RemoteError extends AmqpKitError {
  readonly contract: string;
  readonly remoteCode: string;
  readonly issues: readonly Issue[];
  constructor(operation: Operation, facts: {
    code: string;
    detail: string;
    retryable: boolean;
    issues: readonly Issue[];
  });
}
export declare class RequestTimeoutError extends AmqpKitError {
  readonly contract: string;
  readonly timeoutMs: number;
  readonly outcome: Outcome;
  constructor(operation: Operation, timeoutMs: number, outcome: Outcome);
}
export declare class RetryLater extends AmqpKitError {
  readonly delayMs: number;
  constructor({ delayMs }: {
    delayMs: number;
  });
}
export declare class TooManyRequestsError extends AmqpKitError {
  readonly contract: string;
  readonly maxPending: number;
  readonly outcome: Outcome;
  constructor(operation: Operation, maxPending: number);
}
export declare class TopologyError extends AmqpKitError {
  constructor(message: string, cause?: unknown);
}
export declare class UsageError extends AmqpKitError {
  constructor(message: string);
}
export declare function broadcast<const Name extends string, Message extends Schema>(name: Name, options: {
  message: Message;
  decoders?: Decoders;
}): Broadcast<Name, Message>;
export declare function connect<S extends System, N extends keyof S & string>(urls: string | readonly string[], options: ConnectOptions<S, N>): Promise<Amqp<S[N]>>;
export declare function defineSystem<const S extends System>(system: S & OnlyKnownRoles<S>): S;
export declare function notification<const Name extends string, Message extends Schema>(name: Name, options: {
  message: Message;
  decoders?: Decoders;
}): Notification<Name, Message>;
export declare function operation<const Name extends string, Request extends Schema, Response extends Schema, const Errors extends {
  readonly [name: string]: Schema;
} = {}>(name: Name, options: {
  exchange: string;
  request: Request;
  response: Response;
  timeoutMs: number;
  errors?: Errors;
  requestQueue?: "durable" | "transient";
  decoders?: Decoders;
}): Operation<Name, Request, Response, Errors>;
export type {
  Amqp,
  AmqpKitErrorCode,
  AmqpKitEvents,
  Broadcast,
  ConnectOptions,
  Consuming,
  Contract,
  Decoder,
  Decoders,
  Delivery,
  DropReason,
  ErrorDetails,
  ErrorName,
  Input,
  Issue,
  ListenOptions,
  Logger,
  Notification,
  NotifyOptions,
  Operation,
  Outcome,
  Output,
  PublishFailure,
  RequestOptions,
  RespondOptions,
  Roles,
  Schema,
  SubscribeOptions,
  System,
  TlsOptions
};
import { StandardSchemaV1 } from "@standard-schema/spec";
import "amqplib";
interface AmqpKitEvents {
  dropped: {
    contract: string;
    reason: DropReason;
    count: number;
  };
  retried: {
    contract: string;
    messageId: string | undefined;
    attempt: number;
    delayMs: number;
  };
  paused: {
    contract: string;
  };
  resumed: {
    contract: string;
    pausedMs: number;
  };
  "dead-lettered": {
    contract: string;
    messageId: string | undefined;
    reason: string;
  };
  "reply-ignored": {
    service: string;
  };
  "reply-undeliverable": {
    contract: string;
    messageId: string | undefined;
  };
  "request-refused": {
    contract: string;
    messageId: string | undefined;
  };
  "request-sent": {
    contract: string;
    messageId: string;
    expiresInMs: number;
  };
  "request-begun": {
    contract: string;
    messageId: string | undefined;
    expiresInMs: number | undefined;
  };
  "request-returned": {
    contract: string;
    messageId: string | undefined;
  };
  connection: {
    purpose: "publishing" | "consuming";
    state: "open" | "lost" | "blocked" | "unblocked";
  };
}
interface AnySubscribeOptions {
  retryDelaysMs?: readonly number[];
  isAvailable?: () => Promise<boolean>;
}
interface Broadcast<Name extends string = string, Message extends Schema = Schema> {
  readonly kind: "broadcast";
  readonly name: Name;
  readonly message: Message;
  readonly decoders: Decoders;
}
interface BroadcastVerb<C extends Broadcast> {
  broadcast<T extends C>(contract: T, message: Input<T["message"]>): Promise<void>;
}
interface ConnectOptions<S extends System, N extends keyof S & string> {
  system: S;
  service: N;
  version?: string;
  logger?: Logger;
  signal?: AbortSignal;
  closeTimeoutMs?: number;
  tls?: TlsOptions | undefined;
}
interface Consuming {
  stop(): Promise<void>;
}
interface DelayedRetry extends AnySubscribeOptions {
  concurrency?: number;
  retry?: undefined;
}
interface Delivery {
  readonly messageId: string | undefined;
  readonly idempotencyKey: string | undefined;
  readonly sentAt: Date | undefined;
  readonly appId: string | undefined;
  readonly redelivered: boolean;
  readonly attempt: number;
  readonly headers: Readonly<Record<string, unknown>>;
  readonly signal: AbortSignal;
}
interface InPlaceRetry extends AnySubscribeOptions {
  concurrency?: 1;
  retry: "in-place";
}
interface Issue {
  readonly path: string;
  readonly rule: string;
}
interface Lifecycle extends AsyncDisposable {
  readonly isReady: boolean;
  close(): Promise<string[]>;
}
interface ListenOptions {
  maxBuffered?: number;
}
interface ListenVerb<C extends Broadcast> {
  listen<T extends C>(contract: T, handler: Handler<Output<T["message"]>>, options?: ListenOptions): Promise<Consuming>;
}
interface Logger {
  debug(facts: object, message: string): void;
  info(facts: object, message: string): void;
  warn(facts: object, message: string): void;
  error(facts: object, message: string): void;
}
interface Notification<Name extends string = string, Message extends Schema = Schema> {
  readonly kind: "notification";
  readonly name: Name;
  readonly message: Message;
  readonly decoders: Decoders;
}
interface NotifyOptions {
  messageId?: string;
  timeoutMs?: number;
  signal?: AbortSignal;
}
interface NotifyVerb<C extends Notification> {
  notify<T extends C>(contract: T, message: Input<T["message"]>, options?: NotifyOptions): Promise<void>;
}
interface Operation<Name extends string = string, Request extends Schema = Schema, Response extends Schema = Schema, Errors extends {
  readonly [name: string]: Schema;
} = {
  readonly [name: string]: Schema;
}> {
  readonly kind: "operation";
  readonly name: Name;
  readonly exchange: string;
  readonly request: Request;
  readonly response: Response;
  readonly errors: Errors;
  readonly timeoutMs: number;
  readonly requestQueue: "durable" | "transient";
  readonly decoders: Decoders;
}
interface RequestOptions {
  idempotencyKey?: string;
  timeoutMs?: number;
  signal?: AbortSignal;
}
interface RequestVerb<C extends Operation> {
  request<T extends C>(contract: T, request: Input<T["request"]>, options?: RequestOptions): Promise<Output<T["response"]>>;
}
interface RespondOptions {
  concurrency?: number;
}
interface RespondVerb<C extends Operation> {
  respond<T extends C>(contract: T, handler: (request: Output<T["request"]>, delivery: Delivery) => Input<T["response"]> | Promise<Input<T["response"]>>, options?: RespondOptions): Promise<Consuming>;
}
interface Roles {
  readonly broadcasts?: readonly Broadcast[];
  readonly listens?: readonly Broadcast[];
  readonly notifies?: readonly Notification[];
  readonly subscribes?: readonly Notification[];
  readonly requests?: readonly Operation[];
  readonly responds?: readonly Operation[];
}
interface SubscribeVerb<C extends Notification> {
  subscribe<T extends C>(contract: T, handler: Handler<Output<T["message"]>>, options?: SubscribeOptions): Promise<Consuming>;
}
interface TlsOptions {
  ca?: string | Buffer | undefined;
  cert?: string | Buffer | undefined;
  key?: string | Buffer | undefined;
}
type Amqp<R extends Roles> = Lifecycle & Has<R, "broadcasts", BroadcastVerb<Listed<R, "broadcasts", Broadcast>>> & Has<R, "listens", ListenVerb<Listed<R, "listens", Broadcast>>> & Has<R, "notifies", NotifyVerb<Listed<R, "notifies", Notification>>> & Has<R, "subscribes", SubscribeVerb<Listed<R, "subscribes", Notification>>> & Has<R, "requests", RequestVerb<Listed<R, "requests", Operation>>> & Has<R, "responds", RespondVerb<Listed<R, "responds", Operation>>>;
type AmqpKitErrorCode = "AMQP_KIT_USAGE" | "AMQP_KIT_CLOSED" | "AMQP_KIT_CONNECTION" | "AMQP_KIT_TOPOLOGY" | "AMQP_KIT_INVALID_MESSAGE" | "AMQP_KIT_MESSAGE_TOO_LARGE" | "AMQP_KIT_PUBLISH" | "AMQP_KIT_NO_RESPONDER" | "AMQP_KIT_REQUEST_TIMEOUT" | "AMQP_KIT_TOO_MANY_REQUESTS" | "AMQP_KIT_OPERATION" | "AMQP_KIT_REMOTE" | "AMQP_KIT_RETRY_LATER" | "AMQP_KIT_REJECT";
type Contract = Broadcast | Notification | Operation;
type Decoder = (text: string, properties: {
  sentAt: Date | undefined;
}) => unknown;
type Decoders = {
  readonly [contentType: string]: Decoder;
};
type DropReason = "disconnected" | "blocked" | "stalled" | "exchange-gone" | "buffer-full" | "invalid-message" | "message-too-large" | "closing";
type ErrorDetails<O extends Operation, N extends ErrorName<O>> = Output<NonNullable<O["errors"][N]>>;
type ErrorName<O extends Operation> = keyof O["errors"] & string;
type Handler<Message> = (message: Message, delivery: Delivery) => unknown;
type Has<R, K extends keyof Roles, Verb> = K extends keyof R ? Verb : unknown;
type Input<S extends Schema> = StandardSchemaV1.InferInput<S>;
type Listed<R extends Roles, K extends keyof Roles, Bound> = R[K] extends readonly (infer C extends Bound)[] ? C : never;
type OnlyKnownRoles<S> = { readonly [N in keyof S]: { readonly [K in keyof S[N]]: K extends keyof Roles ? unknown : never; }; };
type Outcome = "not-executed" | "unknown";
type Output<S extends Schema> = StandardSchemaV1.InferOutput<S>;
type PublishFailure = "unroutable" | "refused" | "timeout" | "channel-lost";
type Schema = StandardSchemaV1;
type SubscribeOptions = DelayedRetry | InPlaceRetry;
type System = {
  readonly [service: string]: Roles;
};
