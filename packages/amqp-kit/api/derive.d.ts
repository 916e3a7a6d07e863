export declare function definitionsOf(system: System, { virtualHost }: {
  virtualHost: string;
}): Definitions;
export declare function operatorPermissions(system: System): Permissions;
export declare function permissionsOf<S extends System>(system: S): { readonly [Service in keyof S]: Permissions; };
export type {
  Definitions,
  Permissions
};
import { StandardSchemaV1 } from "@standard-schema/spec";
interface Broadcast<Name extends string = string, Message extends Schema = Schema> {
  readonly kind: "broadcast";
  readonly name: Name;
  readonly message: Message;
  readonly decoders: Decoders;
}
interface Definitions extends PolicyDefinitions {
  readonly vhosts: readonly {
    readonly name: string;
  }[];
  readonly permissions: readonly ({
    readonly user: string;
    readonly vhost: string;
  } & Permissions)[];
}
interface Notification<Name extends string = string, Message extends Schema = Schema> {
  readonly kind: "notification";
  readonly name: Name;
  readonly message: Message;
  readonly decoders: Decoders;
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
interface Permissions {
  readonly configure: string;
  readonly write: string;
  readonly read: string;
}
interface PolicyDefinitions {
  policies: {
    vhost: string;
    name: string;
    pattern: string;
    "apply-to": "quorum_queues";
    definition: {
      "delivery-limit": -1;
    };
    priority: number;
  }[];
}
interface Roles {
  readonly broadcasts?: readonly Broadcast[];
  readonly listens?: readonly Broadcast[];
  readonly notifies?: readonly Notification[];
  readonly subscribes?: readonly Notification[];
  readonly requests?: readonly Operation[];
  readonly responds?: readonly Operation[];
}
type Decoder = (text: string, properties: {
  sentAt: Date | undefined;
}) => unknown;
type Decoders = {
  readonly [contentType: string]: Decoder;
};
type Schema = StandardSchemaV1;
type System = {
  readonly [service: string]: Roles;
};
