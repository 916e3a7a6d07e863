// The public API, grouped by idiom. Declarations are also at `amqp-kit/contract`, without amqplib.

// declare
export { broadcast, notification, operation, defineSystem } from "./contract.ts";
export type {
  Broadcast,
  Contract,
  Decoder,
  Decoders,
  ErrorDetails,
  ErrorName,
  Input,
  Notification,
  Operation,
  Output,
  Roles,
  Schema,
  System,
} from "./contract.ts";

// connect, and the six verbs: broadcast, listen; notify, subscribe; request, respond
export { connect } from "./amqp.ts";
export type {
  Amqp,
  ConnectOptions,
  Consuming,
  Delivery,
  ListenOptions,
  Logger,
  NotifyOptions,
  RequestOptions,
  RespondOptions,
  SubscribeOptions,
} from "./amqp.ts";

// errors
export {
  AmqpKitError,
  ClosedError,
  ConnectionError,
  InvalidMessageError,
  MessageTooLargeError,
  NoResponderError,
  OperationError,
  PublishError,
  RemoteError,
  RequestTimeoutError,
  TooManyRequestsError,
  TopologyError,
  UsageError,
} from "./errors.ts";
export type { AmqpKitErrorCode, Issue, Outcome, PublishFailure } from "./errors.ts";
