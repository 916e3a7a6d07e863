export {};
export declare function broadcast<const Name extends string, Message extends Schema>(name: Name, options: {
  message: Message;
  decoders?: Decoders;
}): Broadcast<Name, Message>;
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
export interface Broadcast<Name extends string = string, Message extends Schema = Schema> {
  readonly kind: "broadcast";
  readonly name: Name;
  readonly message: Message;
  readonly decoders: Decoders;
}
export interface Notification<Name extends string = string, Message extends Schema = Schema> {
  readonly kind: "notification";
  readonly name: Name;
  readonly message: Message;
  readonly decoders: Decoders;
}
export interface Operation<Name extends string = string, Request extends Schema = Schema, Response extends Schema = Schema, Errors extends {
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
export interface Roles {
  readonly broadcasts?: readonly Broadcast[];
  readonly listens?: readonly Broadcast[];
  readonly notifies?: readonly Notification[];
  readonly subscribes?: readonly Notification[];
  readonly requests?: readonly Operation[];
  readonly responds?: readonly Operation[];
}
export type Contract = Broadcast | Notification | Operation;
export type Decoder = (text: string, properties: {
  sentAt: Date | undefined;
}) => unknown;
export type Decoders = {
  readonly [contentType: string]: Decoder;
};
export type ErrorDetails<O extends Operation, N extends ErrorName<O>> = Output<NonNullable<O["errors"][N]>>;
export type ErrorName<O extends Operation> = keyof O["errors"] & string;
export type Input<S extends Schema> = StandardSchemaV1.InferInput<S>;
export type Output<S extends Schema> = StandardSchemaV1.InferOutput<S>;
export type Schema = StandardSchemaV1;
export type System = {
  readonly [service: string]: Roles;
};
import { StandardSchemaV1 } from "@standard-schema/spec";
type OnlyKnownRoles<S> = { readonly [N in keyof S]: { readonly [K in keyof S[N]]: K extends keyof Roles ? unknown : never; }; };
