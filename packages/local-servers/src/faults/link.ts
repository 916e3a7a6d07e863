import type { Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { type AmqpFrame, FrameReader } from "./amqp-frames.ts";

export type Direction = "to-server" | "to-client";

/** What happens to an AMQP frame: "hold" keeps it until `release`, "drop" discards it, "cut" discards it and cuts the connection; bytes replace it. */
export type Verdict = "pass" | "hold" | "drop" | "cut" | Buffer;

export type FrameFilter = (frame: AmqpFrame, direction: Direction, link: Link) => Verdict;

/** `reset` sends RST, as a lost peer does; `end` sends FIN, without AMQP's own close. */
export type CutHow = "reset" | "end";

/** One connection through the proxy. */
export interface Link {
  readonly id: number;
  readonly bytes: Readonly<Record<Direction, number>>;
  cut(how?: CutHow): void;
  /** Acts like a cable that was cut: the data is lost, and each side notices only by its own timeouts. */
  lose(): void;
  /** Ends one direction (FIN); the other stays open. */
  halfClose(direction: Direction): void;
  /** Writes these bytes between two chunks, so that the rest of the stream cannot be parsed. */
  inject(bytes: Buffer, direction: Direction): void;
  freeze(direction?: Direction): void;
  thaw(): void;
  release(): void;
}

export const directions = ["to-server", "to-client"] as const satisfies readonly Direction[];
const opposite = { "to-server": "to-client", "to-client": "to-server" } as const satisfies Record<Direction, Direction>;

/** The delayed chunks of one direction, in their order. */
interface Lane {
  /** When the last chunk may pass, by `performance.now()` */
  until: number;
  held: number;
  last: Promise<void>;
}

export class TcpLink implements Link {
  readonly id: number;
  readonly bytes = { "to-server": 0, "to-client": 0 };
  filter: FrameFilter | undefined;
  delayMs = 0;
  #bytesPerSecond = Infinity;
  /** Aborts when the throttle changes: what it held back passes. */
  #throttled = new AbortController();
  cutAfter: { bytes: number; direction: Direction } | undefined;
  readonly #sockets: Record<Direction, Socket>;
  /** Chunks that wait while a direction is frozen; null is the end of the stream */
  readonly #waiting: Record<Direction, (Buffer | null)[]> = { "to-server": [], "to-client": [] };
  readonly #frozen = new Set<Direction>();
  readonly #held: { direction: Direction; bytes: Buffer }[] = [];
  readonly #lanes: Record<Direction, Lane> = {
    "to-server": { until: 0, held: 0, last: Promise.resolve() },
    "to-client": { until: 0, held: 0, last: Promise.resolve() },
  };
  #isCut = false;
  #isLost = false;

  constructor(id: number, client: Socket, upstream: Socket, isAmqp: boolean) {
    this.id = id;
    this.#sockets = { "to-server": upstream, "to-client": client };
    client.setNoDelay(true);
    upstream.setNoDelay(true);
    this.#forward(client, "to-server", isAmqp);
    this.#forward(upstream, "to-client", isAmqp);
  }

  /** Changes the throttle. Chunks that wait, even for `delayMs`, pass immediately and in their order. */
  throttle(bytesPerSecond: number): void {
    this.#bytesPerSecond = bytesPerSecond;
    for (const lane of Object.values(this.#lanes)) lane.until = 0;
    this.#throttled.abort();
    this.#throttled = new AbortController();
  }

  #forward(from: Socket, direction: Direction, isAmqp: boolean): void {
    const frames = isAmqp ? new FrameReader(direction === "to-server") : undefined;
    from
      .on("data", (chunk: Buffer) => {
        for (const { bytes, frame } of frames?.read(chunk) ?? [{ bytes: chunk, frame: undefined }]) {
          if (!this.#isCut) this.#judge(direction, bytes, frame);
        }
      })
      .on("end", () => this.#later(direction, null))
      // A reset or refused connection is passed on as a reset
      .on("error", () => {
        if (!this.#isLost) this.cut();
      });
  }

  #judge(direction: Direction, bytes: Buffer, frame: AmqpFrame | undefined): void {
    const verdict = frame === undefined ? "pass" : (this.filter?.(frame, direction, this) ?? "pass");
    if (verdict === "hold") this.#held.push({ direction, bytes });
    if (verdict === "cut") this.cut();
    if (verdict === "pass") this.#later(direction, bytes);
    if (typeof verdict === "object") this.#later(direction, verdict);
  }

  /** Delivers a chunk after the delay, and never before an earlier chunk, even if the delay has become shorter. */
  #later(direction: Direction, bytes: Buffer | null): void {
    const lane = this.#lanes[direction];
    const now = performance.now();
    const sendingMs = ((bytes?.length ?? 0) / this.#bytesPerSecond) * 1000;
    lane.until = Math.max(lane.until, now + this.delayMs) + sendingMs;
    if (lane.held === 0 && lane.until <= now) return this.#deliver(direction, bytes);
    const { until } = lane;
    const { signal } = this.#throttled;
    lane.held += 1;
    lane.last = lane.last.then(async () => {
      await sleep(Math.max(0, until - performance.now()), undefined, { ref: false, signal }).catch(() => undefined);
      lane.held -= 1;
      this.#deliver(direction, bytes);
    });
  }

  #deliver(direction: Direction, bytes: Buffer | null): void {
    if (this.#isCut) return;
    if (this.#isLost) {
      // The FIN of one side closes its own socket; the other side never gets it
      if (bytes === null) this.#sockets[opposite[direction]].destroy();
      return;
    }
    if (this.#frozen.has(direction)) {
      this.#waiting[direction].push(bytes);
      return;
    }
    const socket = this.#sockets[direction];
    if (bytes === null) {
      socket.end();
      return;
    }
    const limit = this.cutAfter?.direction === direction ? this.cutAfter.bytes - this.bytes[direction] : Infinity;
    const passing = bytes.subarray(0, Math.max(0, Math.min(bytes.length, limit)));
    this.bytes[direction] += passing.length;
    socket.write(passing, () => {
      if (bytes.length >= limit) this.cut();
    });
  }

  cut(how: CutHow = "reset"): void {
    if (this.#isCut) return;
    this.#isCut = true;
    for (const direction of directions) {
      const socket = this.#sockets[direction];
      if (how === "reset") socket.resetAndDestroy();
      else socket.destroySoon();
    }
  }

  /** Closes both sockets immediately, even if data for a peer that does not read is left. */
  destroy(): void {
    this.cut();
    for (const direction of directions) this.#sockets[direction].destroy();
  }

  lose(): void {
    this.#isLost = true;
    this.thaw();
  }

  halfClose(direction: Direction): void {
    this.#later(direction, null);
  }

  inject(bytes: Buffer, direction: Direction): void {
    this.#later(direction, bytes);
  }

  freeze(direction?: Direction): void {
    for (const one of direction === undefined ? directions : [direction]) {
      this.#frozen.add(one);
      // Stops reading, so that the sender's own buffers fill up
      this.#sockets[opposite[one]].pause();
    }
  }

  thaw(): void {
    this.#frozen.clear();
    for (const direction of directions) {
      for (const bytes of this.#waiting[direction].splice(0)) this.#deliver(direction, bytes);
      this.#sockets[direction].resume();
    }
  }

  release(): void {
    for (const { direction, bytes } of this.#held.splice(0)) this.#deliver(direction, bytes);
  }
}
