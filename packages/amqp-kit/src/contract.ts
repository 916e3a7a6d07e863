import type { StandardSchemaV1 } from "@standard-schema/spec";
import { subscriptionQueue } from "./names.ts";

/**
 * Contracts: what is said, once, as plain data. Types, topology and validation are all derived from them.
 * This file is its own entry, `amqp-kit/contract`, and pulls in neither amqplib nor I/O.
 */

/** Any synchronous Standard Schema (zod, valibot, arktype, …) that accepts the JSON of its own output. */
export type Schema = StandardSchemaV1;
export type Input<S extends Schema> = StandardSchemaV1.InferInput<S>;
export type Output<S extends Schema> = StandardSchemaV1.InferOutput<S>;

/**
 * Turns the text of a body in another content type into what the schema then validates. Throws on text that it cannot read; what the
 * error says reaches logs and error replies, so that it names the rule, not the value.
 */
export type Decoder = (text: string, properties: { sentAt: Date | undefined }) => unknown;

/** By content type. Messages without any content type count as `text/plain` where that has a decoder, as JSON elsewhere. */
export type Decoders = { readonly [contentType: string]: Decoder };

/** Live news: whoever listens now gets it. The name is also the exchange's. */
export interface Broadcast<Name extends string = string, Message extends Schema = Schema> {
  readonly kind: "broadcast";
  readonly name: Name;
  readonly message: Message;
  readonly decoders: Decoders;
}

/** A fact that every subscriber of the system gets, also what came while it was down. The name is also the exchange's. */
export interface Notification<Name extends string = string, Message extends Schema = Schema> {
  readonly kind: "notification";
  readonly name: Name;
  readonly message: Message;
  readonly decoders: Decoders;
}

/** A question with one answer. The name is also the request queue's and the routing key's. */
export interface Operation<
  Name extends string = string,
  Request extends Schema = Schema,
  Response extends Schema = Schema,
  Errors extends { readonly [name: string]: Schema } = { readonly [name: string]: Schema },
> {
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

export type Contract = Broadcast | Notification | Operation;

/** Codes of error replies that the kit gives itself; the `code` of a declared error is its name. */
const ownErrorCodes = [
  "invalid_message",
  "message_too_large",
  "response_too_large",
  "invalid_response",
  "internal_error",
];
/** What Node's timers can wait. */
const maxTimeoutMs = 2 ** 31 - 1;

/** The names of the errors that an operation declares. */
export type ErrorName<O extends Operation> = keyof O["errors"] & string;
export type ErrorDetails<O extends Operation, N extends ErrorName<O>> = Output<NonNullable<O["errors"][N]>>;

/**
 * Declares a broadcast.
 * @param name  of the exchange: fanout, transient, auto-delete
 * @param options.message  schema of its messages
 * @param options.decoders  readers for content types besides `application/json`
 * @throws {TypeError} a name that AMQP or a permission pattern cannot carry
 */
export function broadcast<const Name extends string, Message extends Schema>(
  name: Name,
  options: { message: Message; decoders?: Decoders },
): Broadcast<Name, Message> {
  const where = `broadcast("${name}")`;
  checkOptions(where, options, ["message", "decoders"]);
  checkSchema(`${where}: message`, options.message);
  checkDecoders(where, options.decoders);
  return { kind: "broadcast", name: checkName(name), message: options.message, decoders: options.decoders ?? {} };
}

/**
 * Declares a notification.
 * @param name  of the exchange: fanout, durable. Each subscriber's queue is `<name>.<service>`
 * @param options.message  schema of its messages
 * @param options.decoders  readers for content types besides `application/json`
 * @throws {TypeError} a name that AMQP or a permission pattern cannot carry
 */
export function notification<const Name extends string, Message extends Schema>(
  name: Name,
  options: { message: Message; decoders?: Decoders },
): Notification<Name, Message> {
  const where = `notification("${name}")`;
  checkOptions(where, options, ["message", "decoders"]);
  checkSchema(`${where}: message`, options.message);
  checkDecoders(where, options.decoders);
  return { kind: "notification", name: checkName(name), message: options.message, decoders: options.decoders ?? {} };
}

/**
 * Declares an operation: a request, its response, and the errors that a caller is expected to handle.
 * @param name  of the request queue and its routing key
 * @param options.exchange  direct, transient, auto-delete; shared by as many operations as wanted
 * @param options.timeoutMs  a caller's whole budget in milliseconds, connecting included
 * @param options.errors  declared errors: name → schema of their details
 * @param options.requestQueue  how a responder declares the queue where it finds none: `"durable"` (with `x-expires`; takes the
 *   virtual host's default queue type, see docs/decisions/0004), or `"transient"`, the auto-delete queue of the 2009 post, which
 *   RabbitMQ 4.3 refuses unless `deprecated_features.permit.transient_nonexcl_queues = true`. @default "durable"
 * @param options.decoders  readers for requests in content types besides `application/json`
 * @throws {TypeError} a name that AMQP or a permission pattern cannot carry, an error's name that the kit uses itself, or a time limit
 *   that is not a whole number from 1 to 2147483647
 */
export function operation<
  const Name extends string,
  Request extends Schema,
  Response extends Schema,
  const Errors extends { readonly [name: string]: Schema } = {},
>(
  name: Name,
  options: {
    exchange: string;
    request: Request;
    response: Response;
    timeoutMs: number;
    errors?: Errors;
    requestQueue?: "durable" | "transient";
    decoders?: Decoders;
  },
): Operation<Name, Request, Response, Errors> {
  const known = ["exchange", "request", "response", "timeoutMs", "errors", "requestQueue", "decoders"];
  const where = `operation("${name}")`;
  checkOptions(where, options, known);
  checkSchema(`${where}: request`, options.request);
  checkSchema(`${where}: response`, options.response);
  checkErrors(where, options.errors ?? {});
  checkDecoders(where, options.decoders);
  if (!Number.isSafeInteger(options.timeoutMs) || options.timeoutMs <= 0 || options.timeoutMs > maxTimeoutMs) {
    throw new TypeError(
      `${where}: timeoutMs must be a whole number of milliseconds from 1 to ${maxTimeoutMs}, not ${options.timeoutMs}.`,
    );
  }
  return {
    kind: "operation",
    name: checkName(name),
    exchange: checkName(options.exchange),
    request: options.request,
    response: options.response,
    errors: options.errors ?? ({} as Errors),
    timeoutMs: options.timeoutMs,
    requestQueue: options.requestQueue ?? "durable",
    decoders: options.decoders ?? {},
  };
}

/** What one service says and hears. */
export interface Roles {
  readonly broadcasts?: readonly Broadcast[];
  readonly listens?: readonly Broadcast[];
  readonly notifies?: readonly Notification[];
  readonly subscribes?: readonly Notification[];
  readonly requests?: readonly Operation[];
  readonly responds?: readonly Operation[];
}

/** Who says what to whom: service name → roles. */
export type System = { readonly [service: string]: Roles };

type OnlyKnownRoles<S> = {
  readonly [N in keyof S]: { readonly [K in keyof S[N]]: K extends keyof Roles ? unknown : never };
};

const roleKinds = {
  broadcasts: "broadcast",
  listens: "broadcast",
  notifies: "notification",
  subscribes: "notification",
  requests: "operation",
  responds: "operation",
} as const satisfies Record<keyof Roles, Contract["kind"]>;

/**
 * Says who speaks to whom, once. Types of the verbs, declarations on the broker and start-up checks all come from this.
 * @returns the system as given, with literal types
 * @throws {TypeError} an unknown role, a contract under a role of another idiom, or two contracts that claim one name or exchange
 */
export function defineSystem<const S extends System>(system: S & OnlyKnownRoles<S>): S {
  const byName = new Map<string, Contract>();
  const byExchange = new Map<string, Contract>();
  const byQueue = new Map<string, string>();
  for (const [service, roles] of Object.entries<Roles>(system)) {
    checkName(service);
    for (const [role, contracts] of Object.entries<readonly Contract[]>(roles as Record<string, readonly Contract[]>)) {
      if (!isRole(role)) {
        throw new TypeError(
          `System: "${service}" has an unknown role "${role}". Roles are ${Object.keys(roleKinds).join(", ")}.`,
        );
      }
      for (const contract of contracts) {
        if (contract.kind !== roleKinds[role]) {
          throw new TypeError(
            `System: "${service}" ${role} "${contract.name}", which is a ${contract.kind}, not a ${roleKinds[role]}.`,
          );
        }
        const namesake = byName.get(contract.name);
        if (namesake !== undefined && namesake !== contract) {
          throw new TypeError(`System: two contracts claim the name "${contract.name}". Declare it once and share it.`);
        }
        byName.set(contract.name, contract);
        const exchange = contract.kind === "operation" ? contract.exchange : contract.name;
        const other = byExchange.get(exchange) ?? contract;
        if (other.kind !== contract.kind) {
          throw new TypeError(
            `System: ${other.kind} "${other.name}" and ${contract.kind} "${contract.name}" claim the same exchange "${exchange}".`,
          );
        }
        byExchange.set(exchange, contract);
        if (role !== "subscribes" && role !== "responds") continue;
        const queue = role === "subscribes" ? subscriptionQueue(contract, service) : contract.name;
        const owner =
          role === "subscribes" ? `${contract.kind} "${contract.name}" of "${service}"` : `"${contract.name}"`;
        claimQueue(byQueue, queue, owner);
      }
    }
  }
  return system;
}

/** With dots in names, two pairs of names may make one queue, or one that is another's `.dead` or delay queue. */
function claimQueue(owners: Map<string, string>, queue: string, owner: string): void {
  owners.set(queue, owners.get(queue) ?? owner);
  for (const [other, itsOwner] of owners) {
    const [short, long] = other.length < queue.length ? [other, queue] : [queue, other];
    const isShared =
      short === long || (long.startsWith(short) && /^\.(dead|failed|delay\.\d+)$/.test(long.slice(short.length)));
    if (isShared && itsOwner !== owner)
      throw new TypeError(`System: ${itsOwner} and ${owner} both claim the queue "${long}". Rename one of them.`);
  }
}

function isRole(role: string): role is keyof Roles {
  return Object.hasOwn(roleKinds, role);
}

/** Names become exchanges, queues and permission patterns: letters, digits, `.`, `_` and `-`, so that a queue name with suffixes fits 255 bytes. */
function checkName<Name extends string>(name: Name): Name {
  if (typeof name !== "string" || !/^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$/.test(name) || name.startsWith("amq.")) {
    throw new TypeError(
      `"${name}" cannot name an exchange, queue or service: 1 to 100 letters, digits, ".", "_" or "-", not beginning with "amq.".`,
    );
  }
  return name;
}

function checkOptions(where: string, options: object, known: readonly string[]): void {
  const unknown = Object.keys(options).filter((key) => !known.includes(key));
  if (unknown.length > 0)
    throw new TypeError(`${where}: unknown option ${unknown.join(", ")}. Known are ${known.join(", ")}.`);
}

function checkSchema(where: string, schema: unknown): void {
  const isSchema = (typeof schema === "object" && schema !== null) || typeof schema === "function";
  if (!isSchema || !("~standard" in schema))
    throw new TypeError(`${where} must be a Standard Schema, for example one of zod.`);
}

function checkErrors(where: string, errors: { readonly [name: string]: Schema }): void {
  for (const [name, schema] of Object.entries(errors)) {
    if (!/^[A-Za-z][A-Za-z0-9_]{0,99}$/.test(name))
      throw new TypeError(`${where}: "${name}" cannot name an error: 1 to 100 letters, digits or "_", a letter first.`);
    if (ownErrorCodes.includes(name))
      throw new TypeError(`${where}: the kit itself answers "${name}". Choose another name.`);
    checkSchema(`${where}: error "${name}"`, schema);
  }
}

function checkDecoders(where: string, decoders: Decoders = {}): void {
  for (const type of Object.keys(decoders)) {
    if (!/^[a-z0-9.+-]+\/[a-z0-9.+-]+$/.test(type))
      throw new TypeError(
        `${where}: the key of a decoder must be a content type in lower case without parameters, not "${type}".`,
      );
  }
}
