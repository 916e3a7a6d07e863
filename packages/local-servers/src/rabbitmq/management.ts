import type {
  Arguments,
  QueueInfo,
  ExchangeInfo,
  BindingInfo,
  ConsumerInfo,
  ConnectionInfo,
  ChannelInfo,
  FetchedMessage,
  Permissions,
} from "./management-answers.ts";

/**
 * A client of the broker's management API. Lists show what the broker gathered last, so wait with `expect.poll`.
 * @example
 * await expect.poll(async () => (await vhost.management.queue(vhost.name, "orders"))?.messages).toBe(1);
 */
export class Management {
  readonly #base: string;
  readonly #user: string;
  readonly #authorization: string;

  /** @param url with credentials: `http://user:password@host:port` */
  constructor(url: string) {
    const { origin, pathname, username, password } = new URL(url);
    this.#base = `${origin}${pathname === "/" ? "" : pathname}/api`;
    this.#user = decodeURIComponent(username);
    const credentials = `${this.#user}:${decodeURIComponent(password)}`;
    this.#authorization = `Basic ${Buffer.from(credentials).toString("base64")}`;
  }

  async version(): Promise<string> {
    const overview = await this.#get<{ rabbitmq_version: string }>("/overview");
    return overview.rabbitmq_version;
  }

  async createVirtualHost(
    name: string,
    { defaultQueueType }: { defaultQueueType?: "classic" | "quorum" | undefined } = {},
  ): Promise<void> {
    // RabbitMQ 3.10 knows only the second name
    const options = { default_queue_type: defaultQueueType, defaultqueuetype: defaultQueueType };
    await this.#send("PUT", path("vhosts", name), defaultQueueType && options);
  }

  async deleteVirtualHost(name: string): Promise<void> {
    await this.#send("DELETE", path("vhosts", name));
  }

  queues(vhost: string): Promise<QueueInfo[]> {
    return this.#get(path("queues", vhost));
  }

  /** @returns undefined if the queue does not exist */
  async queue(vhost: string, name: string): Promise<QueueInfo | undefined> {
    return (await this.queues(vhost)).find((queue) => queue.name === name);
  }

  /** Lists the declared exchanges, without the default exchange and `amq.*`. */
  async exchanges(vhost: string): Promise<ExchangeInfo[]> {
    const all = await this.#get<ExchangeInfo[]>(path("exchanges", vhost));
    return all.filter(({ name }) => name !== "" && !name.startsWith("amq."));
  }

  /** Lists the bindings, without those of the default exchange, which every queue has. */
  async bindings(vhost: string): Promise<BindingInfo[]> {
    const all = await this.#get<BindingInfo[]>(path("bindings", vhost));
    return all.filter(({ source }) => source !== "");
  }

  consumers(vhost: string): Promise<ConsumerInfo[]> {
    return this.#get(path("consumers", vhost));
  }

  connections(vhost: string): Promise<ConnectionInfo[]> {
    return this.#get(`${path("vhosts", vhost)}/connections`);
  }

  channels(vhost: string): Promise<ChannelInfo[]> {
    return this.#get(`${path("vhosts", vhost)}/channels`);
  }

  /** Closes all connections of the virtual host with 320 CONNECTION_FORCED, as an operator does. @returns how many */
  async closeConnections(vhost: string, reason = "closed by the test"): Promise<number> {
    const connections = await this.connections(vhost);
    await Promise.all(connections.map(({ name }) => this.closeConnection(name, reason)));
    return connections.length;
  }

  /** @param name  as `connections` lists it */
  async closeConnection(name: string, reason = "closed by the test"): Promise<void> {
    await this.#send("DELETE", path("connections", name), undefined, { "X-Reason": reason });
  }

  async declareQueue(
    vhost: string,
    name: string,
    options: { durable?: boolean; auto_delete?: boolean; arguments?: Arguments } = {},
  ): Promise<void> {
    await this.#send("PUT", path("queues", vhost, name), { durable: true, ...options });
  }

  async deleteQueue(vhost: string, name: string): Promise<void> {
    await this.#send("DELETE", path("queues", vhost, name));
  }

  async purgeQueue(vhost: string, name: string): Promise<void> {
    await this.#send("DELETE", `${path("queues", vhost, name)}/contents`);
  }

  async declareExchange(
    vhost: string,
    name: string,
    options: { type: string; durable?: boolean; auto_delete?: boolean; arguments?: Arguments },
  ): Promise<void> {
    await this.#send("PUT", path("exchanges", vhost, name), { durable: true, ...options });
  }

  async deleteExchange(vhost: string, name: string): Promise<void> {
    await this.#send("DELETE", path("exchanges", vhost, name));
  }

  async bindQueue(vhost: string, queue: string, exchange: string, routingKey = ""): Promise<void> {
    await this.#send(
      "POST",
      `${path("bindings", vhost)}/e/${encodeURIComponent(exchange)}/q/${encodeURIComponent(queue)}`,
      {
        routing_key: routingKey,
      },
    );
  }

  /** @returns whether it was routed to a queue */
  async publish(
    vhost: string,
    message: {
      exchange: string;
      routingKey?: string;
      body: string | Uint8Array;
      properties?: Record<string, unknown>;
    },
  ): Promise<boolean> {
    const name = message.exchange === "" ? "amq.default" : message.exchange;
    const { routed } = await this.#send<{ routed: boolean }>("POST", `${path("exchanges", vhost, name)}/publish`, {
      properties: message.properties ?? {},
      routing_key: message.routingKey ?? "",
      payload: Buffer.from(message.body).toString("base64"),
      payload_encoding: "base64",
    });
    return routed;
  }

  /** Gets the first messages of a queue, and requeues them (they then count as redelivered), or removes them with `take`. */
  getMessages(
    vhost: string,
    queue: string,
    options: { count?: number; take?: boolean } = {},
  ): Promise<FetchedMessage[]> {
    return this.#send("POST", `${path("queues", vhost, queue)}/get`, {
      count: options.count ?? 100,
      ackmode: options.take ? "ack_requeue_false" : "ack_requeue_true",
      encoding: "auto",
    });
  }

  /** @param policy.pattern  a regular expression for the names of queues, exchanges or both */
  async setPolicy(
    vhost: string,
    name: string,
    policy: {
      pattern: string;
      definition: Arguments;
      /** `quorum_queues` needs RabbitMQ 3.12 */
      applyTo?: "queues" | "quorum_queues" | "exchanges" | "all";
      priority?: number;
    },
  ): Promise<void> {
    const { pattern, definition, applyTo = "queues", priority = 0 } = policy;
    await this.#send("PUT", path("policies", vhost, name), { pattern, definition, "apply-to": applyTo, priority });
  }

  async clearPolicy(vhost: string, name: string): Promise<void> {
    await this.#send("DELETE", path("policies", vhost, name));
  }

  async createUser(name: string, password: string, permissions: Permissions): Promise<void> {
    await this.#send("PUT", path("users", name), { password, tags: "" });
    await this.grant(name, permissions);
  }

  async grant(user: string, permissions: Permissions): Promise<void> {
    const { vhost, configure, write, read } = permissions;
    await this.#send("PUT", path("permissions", vhost, user), { configure, write, read });
  }

  /** Imports a definitions file (rabbitmq.com/docs/definitions); existing objects stay. */
  async importDefinitions(definitions: object): Promise<void> {
    await this.#send("POST", "/definitions", definitions);
  }

  async deleteUser(name: string): Promise<void> {
    await this.#send("DELETE", path("users", name));
  }

  /** Deletes all virtual hosts, and all users but the one of this class, and creates an empty "/". */
  async deleteAll(): Promise<void> {
    const [vhosts, users] = await Promise.all([
      this.#get<{ name: string }[]>("/vhosts"),
      this.#get<{ name: string }[]>("/users"),
    ]);
    await Promise.all(vhosts.map(({ name }) => this.deleteVirtualHost(name)));
    await Promise.all(users.filter(({ name }) => name !== this.#user).map(({ name }) => this.deleteUser(name)));
    await this.createVirtualHost("/");
    await this.grant(this.#user, { vhost: "/", configure: ".*", write: ".*", read: ".*" });
  }

  async #get<T>(resource: string): Promise<T> {
    return this.#send<T>("GET", resource);
  }

  /** A DELETE of a missing object succeeds. @throws Error with the broker's own reason */
  async #send<T>(method: string, resource: string, body?: unknown, headers: Record<string, string> = {}): Promise<T> {
    const response = await fetch(`${this.#base}${resource}`, {
      method,
      headers: { authorization: this.#authorization, "content-type": "application/json", ...headers },
      signal: AbortSignal.timeout(30_000),
      ...(method === "GET" || method === "DELETE" ? {} : { body: JSON.stringify(body ?? {}) }),
    });
    const text = await response.text();
    if (!response.ok && !(method === "DELETE" && response.status === 404)) {
      throw new Error(`The broker's management API answered ${method} ${resource} with ${response.status}: ${text}`);
    }
    return text === "" ? (undefined as T) : (JSON.parse(text) as T);
  }
}

function path(...parts: string[]): string {
  return parts.map((part) => `/${encodeURIComponent(part)}`).join("");
}
