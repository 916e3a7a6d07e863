/** The measures that `scripts/mutants.ts` removes from the kit, and the tests of docs/pitfalls.md that must then fail. */
export interface Mutant {
  /** the measure that is removed, and its pitfall */
  without: string;
  /** in packages/amqp-kit/src */
  file: string;
  /** the declaration in which the text is replaced: `name` or `Class.member` */
  symbol: string;
  /** occurs once in the symbol */
  find: string;
  replace: string;
  /** a file in packages/amqp-kit/test, and titles of its tests without the pitfalls' numbers */
  fails: { in: string; tests: [string, ...string[]] };
}

export const mutants: Mutant[] = [
  {
    without: "a listener for connection errors during set-up (pitfall 1)",
    file: "broker/dial.ts",
    symbol: "dial",
    find: `model.on("error", (error) => {
      reason = abortSocket.signal.aborted ? abortSocket.signal.reason : error;
      onLost(model, reason);
    });`,
    replace: "",
    fails: {
      in: "long/connection-recovery.test.ts",
      tests: ["right behind a declaration: the process survives, logs it, and reconnects"],
    },
  },
  {
    without: "the check for a connection lost during set-up (pitfall 2)",
    file: "broker/dial.ts",
    symbol: "dial",
    find: `await Promise.race([openChannel(model), closed]);\n    if (isClosed) throw new Error("closed");`,
    replace: "void openChannel;\n    void isClosed;",
    fails: {
      in: "long/connection-recovery.test.ts",
      tests: ["right behind the handshake's last word: the process survives, logs it, and reconnects"],
    },
  },
  {
    without: "the check for a connection lost while a channel opened (pitfall 2)",
    file: "broker/connection.ts",
    symbol: "Connection.#channel",
    find: `if (this.#model !== model) throw new Error("closed");`,
    replace: "",
    fails: {
      in: "long/connection-recovery.test.ts",
      tests: ["a connection lost as its publishing channel opens does not prevent the next notification"],
    },
  },
  {
    without: "a listener for a channel's errors (pitfall 7)",
    file: "broker/channel.ts",
    symbol: "Channel.constructor",
    find: `raw.on("error", (error) => (this.#reason = error));`,
    replace: "",
    fails: {
      in: "servers/broadcast-sender.test.ts",
      tests: [
        "a deleted exchange affects nothing else: notifications of the same process continue, and no connection is lost",
      ],
    },
  },
  {
    without: "noDelay, against Nagle's algorithm (pitfall 12a)",
    file: "broker/dial.ts",
    symbol: "socketOptions",
    find: "noDelay: true",
    replace: "noDelay: false",
    fails: {
      in: "long/defaults.test.ts",
      tests: [
        "nothing waits for Nagle's algorithm: a request, and a confirmed message of 4 KiB, take a few milliseconds",
      ],
    },
  },
  {
    without: "the check that the exchange exists (pitfall 18)",
    file: "broadcast/sender.ts",
    symbol: "Sender.#checkedChannel",
    find: "await channel.raw.checkExchange(this.#broadcast.name);",
    replace: "",
    fails: {
      in: "servers/broadcast-sender.test.ts",
      tests: ["a message sent to a deleted exchange, before the sender knows, still reaches a listener that is there"],
    },
  },
  {
    without: "a separate channel for each check (pitfall 24)",
    file: "broker/connection.ts",
    symbol: "Connection.withChannel",
    find: "const channel = await this.channel();",
    replace: `const shared = this as { admin?: Channel };
    const channel = (shared.admin ??= await this.channel());
    channel.close = () => Promise.resolve();`,
    fails: {
      in: "long/notify-load.test.ts",
      tests: [
        "a subscriber without the notifier's exchange is connected but not ready, and bound within 5 s of its declaration",
      ],
    },
  },
  {
    without: "the end of the wait for drain when the channel closes (pitfall 35)",
    file: "broker/channel.ts",
    symbol: "Channel.drained",
    find: `this.raw.on("drain", resolve).on("close", resolve);`,
    replace: `this.raw.on("drain", resolve);`,
    fails: {
      in: "long/network-faults.test.ts",
      tests: ["a sender whose link is cut while it waits for drain continues on the next connection"],
    },
  },
  {
    without: "the window of unconfirmed messages (pitfall 36)",
    file: "broker/publisher.ts",
    symbol: "maxUnconfirmed",
    find: "const maxUnconfirmed = 1_000;",
    replace: "const maxUnconfirmed = Infinity;",
    fails: {
      in: "servers/notify-notifier.test.ts",
      tests: ["at most 1,000 are unconfirmed: the next wait for room, within their own time limit"],
    },
  },
  {
    without: "mandatory (pitfall 38)",
    file: "broker/publisher.ts",
    symbol: "Publisher.#send",
    find: "mandatory: true }",
    replace: "mandatory: false }",
    fails: {
      in: "servers/notify-notifier.test.ts",
      tests: [
        "no queue is bound: notify rejects with outcome not-executed, and the queues are declared again within 5 s",
      ],
    },
  },
  {
    without: "the message id by which a return finds its publish (pitfall 39)",
    file: "broker/publisher.ts",
    symbol: "Publisher.#onReturn",
    find: "entry.messageId === properties.messageId && !entry.isReturned",
    replace: "properties !== undefined && !entry.isReturned",
    fails: {
      in: "servers/replies.test.ts",
      tests: ["of 1,000 concurrent requests, half without a responder, each return ends its own request only"],
    },
  },
  {
    without: "the correlation id by which a reply finds its request (pitfall 68)",
    file: "request-response/requester.ts",
    symbol: "Requester.#onReply",
    find: "const pending = this.#pending.get(String(message.properties.correlationId));",
    replace: "const [pending] = this.#pending.values();",
    fails: {
      in: "servers/replies.test.ts",
      tests: ["a late, doubled or foreign reply is ignored and counted"],
    },
  },
  {
    without: "the removal of requests that no longer wait (pitfall 68)",
    file: "request-response/requester.ts",
    symbol: "Requester.request",
    find: "this.#pending.delete(correlationId);",
    replace: "",
    fails: {
      in: "servers/replies.test.ts",
      tests: ["a late, doubled or foreign reply is ignored and counted"],
    },
  },
  {
    without: "the check of reply_to (pitfall 71)",
    file: "request-response/responder.ts",
    symbol: "replyQueueOf",
    find: "/^amq\\.gen-[A-Za-z0-9_-]{1,64}$/.test(replyTo)",
    replace: "replyTo.length < 256",
    fails: {
      in: "servers/responders.test.ts",
      tests: ["a request whose reply_to is not a server-named reply queue is refused and counted, valid or not"],
    },
  },
];
