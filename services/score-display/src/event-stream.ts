import { randomBytes } from "node:crypto";
import type { ServerResponse } from "node:http";
import type { Scoreboard, Shown } from "./scoreboard.ts";

/**
 * Server-Sent Events: each update to each client. A client that is too slow for all of them gets the newest of each match as soon as it
 * can take more, so that none holds more memory than a few updates; one that takes nothing for two heartbeats is let go.
 */
export class EventStream {
  readonly #scoreboard: Scoreboard;
  readonly #clients = new Set<Client>();
  readonly #heartbeat: NodeJS.Timeout;
  /** Before the number in an event's id: numbers begin anew with each process. */
  readonly #run = randomBytes(4).toString("hex");
  #maxClients: number;

  constructor(scoreboard: Scoreboard, { maxClients = 1_000, heartbeatMs = 15_000 } = {}) {
    this.#scoreboard = scoreboard;
    this.#maxClients = maxClients;
    scoreboard.onUpdate((shown) => {
      for (const client of this.#clients) client.offer(shown);
    });
    this.#heartbeat = setInterval(() => {
      for (const client of this.#clients) client.beat();
    }, heartbeatMs);
    this.#heartbeat.unref();
  }

  get isFull(): boolean {
    return this.#clients.size >= this.#maxClients;
  }

  /**
   * Answers with events until the client goes away or `close` is called.
   * @param lastEventId  of a client that comes back: it gets the newest of each match since then first
   */
  serve(response: ServerResponse, lastEventId: string | undefined): void {
    response.writeHead(200, {
      "content-type": "text/event-stream; charset=utf-8",
      "cache-control": "no-store",
      // The response ends only at our stop: its connection then ends, too
      connection: "close",
      "x-accel-buffering": "no",
    });
    response.write("retry: 2000\n\n");
    const client = new Client(response, this.#run, this.#scoreboard, this.#lastSeen(lastEventId));
    this.#clients.add(client);
    response.on("close", () => this.#clients.delete(client));
    // Its end is its close
    response.on("error", () => {});
    client.catchUp();
  }

  close(): void {
    clearInterval(this.#heartbeat);
    this.#maxClients = 0;
    for (const client of this.#clients) client.close();
  }

  /** Ids of an earlier process say only that all of this one's updates are news. */
  #lastSeen(lastEventId: string | undefined): number {
    if (lastEventId === undefined || lastEventId === "") return this.#scoreboard.lastId;
    const [run, number] = lastEventId.split("-");
    return run === this.#run ? Number(number) || 0 : 0;
  }
}

class Client {
  readonly #response: ServerResponse;
  readonly #run: string;
  readonly #scoreboard: Scoreboard;
  #lastId: number;
  #isFull = false;
  #wasFullAtLastBeat = false;

  constructor(response: ServerResponse, run: string, scoreboard: Scoreboard, lastId: number) {
    this.#response = response;
    this.#run = run;
    this.#scoreboard = scoreboard;
    this.#lastId = lastId;
    response.on("drain", () => {
      this.#isFull = false;
      this.#wasFullAtLastBeat = false;
      this.catchUp();
    });
  }

  offer({ id, update }: Shown): void {
    if (this.#isFull) return;
    this.#lastId = id;
    this.#write(`event: score\nid: ${this.#run}-${id}\ndata: ${JSON.stringify(update)}\n\n`);
  }

  catchUp(): void {
    for (const shown of this.#scoreboard.since(this.#lastId)) this.offer(shown);
  }

  beat(): void {
    if (this.#wasFullAtLastBeat) this.#response.destroy();
    else if (!this.#isFull) this.#write(":\n\n");
    this.#wasFullAtLastBeat = this.#isFull;
  }

  close(): void {
    if (this.#isFull) this.#response.destroy();
    else this.#response.end();
  }

  #write(text: string): void {
    if (!this.#response.write(text)) this.#isFull = true;
  }
}
