import { randomBytes } from "node:crypto";
import type { ServerResponse } from "node:http";
import type { Scoreboard, Shown } from "./scoreboard.ts";

/**
 * Sends each update to each client as Server-Sent Events. A slow client skips updates and gets the newest of each match when it
 * reads again, so that a client takes no more memory than a few updates. A client that reads nothing for two heartbeats is
 * disconnected.
 */
export class EventStream {
  readonly #scoreboard: Scoreboard;
  readonly #clients = new Set<Client>();
  readonly #heartbeat: NodeJS.Timeout;
  /** Prefix of an event's id, since the numbers start again in each process. */
  readonly #run = randomBytes(4).toString("hex");
  #maxClients: number;

  constructor(scoreboard: Scoreboard, { maxClients = 1_000, heartbeatMs = 15_000 } = {}) {
    this.#scoreboard = scoreboard;
    this.#maxClients = maxClients;
    scoreboard.onUpdate((shown) => {
      for (const client of this.#clients) client.send(shown);
    });
    this.#heartbeat = setInterval(() => {
      for (const client of this.#clients) client.heartbeat();
    }, heartbeatMs);
    this.#heartbeat.unref();
  }

  get isFull(): boolean {
    return this.#clients.size >= this.#maxClients;
  }

  /**
   * Sends events until the client disconnects or `close` is called.
   * @param lastEventId  the last event that a reconnecting client has seen; it first gets the newest update of each match since
   */
  serve(response: ServerResponse, lastEventId: string | undefined): void {
    response.writeHead(200, {
      "content-type": "text/event-stream; charset=utf-8",
      "cache-control": "no-store",
      // The response ends when the service stops, and its connection must end with it
      connection: "close",
      "x-accel-buffering": "no",
    });
    response.write("retry: 2000\n\n");
    const client = new Client(response, this.#run, this.#scoreboard, this.#lastSeen(lastEventId));
    this.#clients.add(client);
    response.on("close", () => this.#clients.delete(client));
    // "close" follows
    response.on("error", () => {});
    client.catchUp();
  }

  close(): void {
    clearInterval(this.#heartbeat);
    this.#maxClients = 0;
    for (const client of this.#clients) client.close();
  }

  /** @returns 0 for an id of an earlier process: such a client has seen none of this process's updates */
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

  send({ id, update }: Shown): void {
    if (this.#isFull) return;
    this.#lastId = id;
    this.#write(`event: score\nid: ${this.#run}-${id}\ndata: ${JSON.stringify(update)}\n\n`);
  }

  catchUp(): void {
    for (const shown of this.#scoreboard.since(this.#lastId)) this.send(shown);
  }

  heartbeat(): void {
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
