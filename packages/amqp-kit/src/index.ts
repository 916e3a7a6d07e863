// The public API, grouped by idiom. The entry `amqp-kit/contract` has the declarations without amqplib.

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
export { connect } from "./connect.ts";
export type { Amqp, Consuming } from "./verbs.ts";
export type { TlsOptions } from "./broker/tls.ts";
export type { ConnectOptions, ListenOptions, RespondOptions, SubscribeOptions } from "./options.ts";
export type { NotifyOptions } from "./notify/notifier.ts";
export type { RequestOptions } from "./request-response/requester.ts";
export type { Delivery } from "./messages/delivery.ts";

// telemetry: the logger that `connect` accepts, and the node:diagnostics_channel messages
export type { AmqpKitEvents, DropReason } from "./telemetry/events.ts";
export type { Logger } from "./telemetry/log.ts";

// errors. A subscriber's handler throws RetryLater and Reject.
export {
  AmqpKitError,
  ClosedError,
  ConnectionError,
  InvalidMessageError,
  MessageTooLargeError,
  NoResponderError,
  OperationError,
  PublishError,
  Reject,
  RemoteError,
  RequestTimeoutError,
  RetryLater,
  TooManyRequestsError,
  TopologyError,
  UsageError,
} from "./errors.ts";
export type { AmqpKitErrorCode, Issue, Outcome, PublishFailure } from "./errors.ts";
