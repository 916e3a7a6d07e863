import { randomUUID } from "node:crypto";
import type { BareClient, Properties } from "../bare-client.ts";
import { monotonicMs } from "../clock.ts";
import { type Ledger, type Malformed, person, type Target } from "../ledger.ts";
import type { Random } from "../random.ts";

/** Sends every kind of malformed message to every receiver. The messages are persistent, so that the receiver decides their fate and not a restart. */

const malformedEveryMs = 700;
const targets: readonly Target[] = ["score_updates", "notify.patient.add", "add_patient", "get_patient"];
const json = "application/json";

interface Kind {
  body: Buffer;
  properties?: Properties;
  reason?: Malformed["reason"];
}

const kinds: Readonly<Record<string, Kind>> = {
  "no JSON": { body: Buffer.from(`{"given":"${person.given}"`) },
  "an empty body": { body: Buffer.alloc(0) },
  "no object": { body: Buffer.from(`"${person.given}"`) },
  "missing fields": { body: Buffer.from(`{"given":"${person.given}"}`) },
  "wrong types": { body: Buffer.from(`{"given":["${person.given}"],"surname":7,"patientId":true,"match":{}}`) },
  "no UTF-8": { body: Buffer.from([0x22, 0xc3, 0x28, 0x22]) },
  "a compressed body": { body: Buffer.from("{}"), properties: { contentEncoding: "gzip" } },
  "an unknown content type": { body: Buffer.from("{}"), properties: { contentType: "application/xml" } },
  "deep nesting": { body: Buffer.from(`${"[".repeat(20_000)}${"]".repeat(20_000)}`) },
  "too large a body": { body: Buffer.alloc(1024 * 1024 + 1, 0x20), reason: "message-too-large" },
  "too large headers": {
    body: Buffer.from("{}"),
    properties: {
      headers: Object.fromEntries(Array.from({ length: 200 }, (_, index) => [`h${index}`, "x".repeat(200)])),
    },
    reason: "message-too-large",
  },
};

/** Missing reply addresses, and addresses that are not of a server-named reply queue */
const unusable = ["", "notify.patient.add.scheduling", "amq.gen-../x", "no-such-queue"] as const;

export class MalformedInput {
  readonly #bare: BareClient;
  readonly #ledger: Ledger;
  readonly #random: Random;
  /** The rest of the combinations, in random order; refilled when empty */
  #left: { target: Target; kind: string }[] = [];
  #timer: NodeJS.Timeout | undefined;

  constructor(bare: BareClient, ledger: Ledger, random: Random) {
    this.#bare = bare;
    this.#ledger = ledger;
    this.#random = random;
  }

  start(): void {
    this.#timer ??= setInterval(() => void this.#sendNext(), malformedEveryMs);
  }

  pause(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  /** Sends several messages to each target, so that each replica receives some */
  async sendSome(): Promise<void> {
    for (const target of [...targets, ...targets, ...targets, ...targets]) await this.#send(target, "no JSON");
  }

  async #sendNext(): Promise<void> {
    if (this.#left.length === 0) {
      const all = targets.flatMap((target) => Object.keys(kinds).map((kind) => ({ target, kind })));
      this.#left = this.#random.shuffled(all);
    }
    const next = this.#left.pop();
    if (next !== undefined) await this.#send(next.target, next.kind);
  }

  async #send(target: Target, kind: string): Promise<void> {
    const { body, properties, reason = "invalid-message" } = kinds[kind] ?? { body: Buffer.alloc(0) };
    const isRequest = target === "add_patient" || target === "get_patient";
    const replyQueue = this.#bare.replyQueue;
    const isAnswerable = isRequest && replyQueue !== undefined && this.#random.chance(0.7);
    const replyTo = isAnswerable ? replyQueue : isRequest ? this.#random.pick(unusable) : "";
    const correlationId = isAnswerable ? randomUUID() : undefined;
    const messageId = `malformed-${this.#ledger.malformed.length + 1}`;
    const malformed: Malformed = {
      messageId,
      target,
      kind,
      at: monotonicMs(),
      settledAt: Infinity,
      fate: "unknown",
      correlationId,
      reason,
    };
    this.#ledger.malformed.push(malformed);
    malformed.fate = await this.#bare.publish(isRequest ? "api" : target, isRequest ? target : "", body, {
      contentType: json,
      messageId,
      persistent: true,
      ...(replyTo !== "" && { replyTo }),
      ...(correlationId !== undefined && { correlationId }),
      ...properties,
    });
    malformed.settledAt = monotonicMs();
  }
}
