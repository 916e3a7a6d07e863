import type { StandardSchemaV1 } from "@standard-schema/spec";
import {
  checkContracts,
  checkDecoders,
  checkErrors,
  checkName,
  checkOptions,
  checkSchema,
  isObject,
  typeOf,
} from "./contract-checks.ts";
import { subscriptionQueue } from "./names.ts";

/**
 * Contracts: what services exchange, declared once, as plain data. Types, topology and validation are derived from them.
 * This file is an entry of its own, `amqp-kit/contract`, and imports neither amqplib nor I/O.
 */

/** Any synchronous Standard Schema (zod, valibot, arktype, …) that accepts the JSON of its own output. */
export type Schema = StandardSchemaV1;
export type Input<S extends Schema> = StandardSchemaV1.InferInput<S>;
export type Output<S extends Schema> = StandardSchemaV1.InferOutput<S>;

/**
 * Converts the text of a body in another content type into the value that the schema validates. Throws on text that it cannot read. The
 * error's message reaches logs and error replies: it must name the rule, never the value.
 */
export type Decoder = (text: string, properties: { sentAt: Date | undefined }) => unknown;

/** Decoders by content type. A message without a content type is `text/plain` if that has a decoder, else JSON. */
export type Decoders = { readonly [contentType: string]: Decoder };

/** A live message for all listeners that are connected now. Its name is the exchange's name. */
export interface Broadcast<Name extends string = string, Message extends Schema = Schema> {
  readonly kind: "broadcast";
  readonly name: Name;
  readonly message: Message;
  readonly decoders: Decoders;
}

/** A message that every subscriber of the system receives, even if it was down when it was sent. Its name is the exchange's name. */
export interface Notification<Name extends string = string, Message extends Schema = Schema> {
  readonly kind: "notification";
  readonly name: Name;
  readonly message: Message;
  readonly decoders: Decoders;
}

/** A request with one response. Its name is the name of the request queue and its routing key. */
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

/** The longest delay of a timer in Node.js. */
const maxTimeoutMs = 2 ** 31 - 1;

/** The names of the errors that an operation declares. */
export type ErrorName<O extends Operation> = keyof O["errors"] & string;
export type ErrorDetails<O extends Operation, N extends ErrorName<O>> = Output<NonNullable<O["errors"][N]>>;

/**
 * Declares a broadcast.
 * @param name  the name of the exchange: fanout, transient, auto-delete
 * @param options.message  the schema of its messages
 * @param options.decoders  decoders for content types other than `application/json`. @default none
 * @throws {TypeError} a name that AMQP or a permission pattern cannot contain
 * @example
 * export const scoreUpdated = broadcast("score.updated", { message: z.object({ match: z.string(), text: z.string() }) });
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
 * @param name  the name of the exchange: fanout, durable. Each subscriber's queue is `<name>.<service>`
 * @param options.message  the schema of its messages
 * @param options.decoders  decoders for content types other than `application/json`. @default none
 * @throws {TypeError} a name that AMQP or a permission pattern cannot contain
 * @example
 * export const patientAdded = notification("patient.added", { message: z.object({ patientId: z.uuid() }) });
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
 * @param name  the name of the request queue and its routing key
 * @param options.exchange  the name of the exchange: direct, transient, auto-delete. Any number of operations may share it
 * @param options.request  the schema of the request
 * @param options.response  the schema of the response
 * @param options.timeoutMs  the time limit of a request in milliseconds, connecting included
 * @param options.errors  declared errors: name → schema of their details. @default none
 * @param options.requestQueue  how a responder declares the queue if it does not exist: `"durable"` (with `x-expires`, and the virtual host's
 *   default queue type, see docs/decisions/0004), or `"transient"`, the auto-delete queue of the 2009 post, which RabbitMQ 4.3 refuses unless
 *   `deprecated_features.permit.transient_nonexcl_queues = true`. @default "durable"
 * @param options.decoders  decoders for requests in content types other than `application/json`. @default none
 * @throws {TypeError} a name that AMQP or a permission pattern cannot contain, the name of an error that the kit uses itself, or a time limit
 *   that is not a whole number from 1 to 2147483647
 * @example
 * export const addPatient = operation("patient.add", {
 *   exchange: "patients",
 *   request: z.object({ name: z.string() }),
 *   response: z.object({ patientId: z.uuid() }),
 *   errors: { already_exists: z.object({ patientId: z.uuid() }) },
 *   timeoutMs: 5_000,
 * });
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

/** The contracts that one service uses, by role. */
export interface Roles {
  readonly broadcasts?: readonly Broadcast[];
  readonly listens?: readonly Broadcast[];
  readonly notifies?: readonly Notification[];
  readonly subscribes?: readonly Notification[];
  readonly requests?: readonly Operation[];
  readonly responds?: readonly Operation[];
}

/** All services with their roles: service name → roles. */
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
 * Declares which service uses which contract in which role. The types of the verbs, the declarations on the broker and the checks at the start
 * are derived from it.
 * @returns the system as given, with literal types
 * @throws {TypeError} an unknown role, a contract under a role of another idiom, or two contracts that claim the same name, exchange or queue
 * @example
 * export const system = defineSystem({
 *   registry: { responds: [addPatient], notifies: [patientAdded] },
 *   scheduling: { subscribes: [patientAdded] },
 * });
 */
export function defineSystem<const S extends System>(system: S & OnlyKnownRoles<S>): S {
  const byName = new Map<string, Contract>();
  const byExchange = new Map<string, Contract>();
  const byQueue = new Map<string, string>();
  if (!isObject(system)) throw new TypeError(`System: it must be an object of services, not ${typeOf(system)}.`);
  for (const [service, roles] of Object.entries<Roles>(system)) {
    checkName(service);
    if (!isObject(roles))
      throw new TypeError(`System: the roles of "${service}" must be an object, not ${typeOf(roles)}.`);
    for (const [role, contracts] of Object.entries<readonly Contract[]>(roles as Record<string, readonly Contract[]>)) {
      if (!isRole(role)) {
        throw new TypeError(
          `System: "${service}" has an unknown role "${role}". Roles are ${Object.keys(roleKinds).join(", ")}.`,
        );
      }
      checkContracts(`System: "${service}" ${role}`, contracts);
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

/** Names contain dots: two pairs of names may result in the same queue, or in the `.dead` or delay queue of another. */
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
