import { once } from "node:events";
import { get } from "node:http";
import type { ClientRequest, IncomingMessage } from "node:http";
import { ScoreUpdate } from "@amqp-idioms/contracts";

/** A client of `GET /scores/events` that can stop reading. */
export class EventClient implements Disposable {
  readonly response: IncomingMessage;
  readonly updates: ScoreUpdate[] = [];
  lastEventId = "";
  hasEnded = false;
  readonly #request: ClientRequest;
  #text = "";

  static async open(url: string, lastEventId?: string): Promise<EventClient> {
    const headers = lastEventId === undefined ? {} : { "last-event-id": lastEventId };
    const request = get(`${url}/scores/events`, { headers });
    const [response]: IncomingMessage[] = await once(request, "response");
    if (response === undefined) throw new Error("no response");
    return new EventClient(request, response);
  }

  constructor(request: ClientRequest, response: IncomingMessage) {
    this.#request = request;
    this.response = response;
    response.setEncoding("utf8");
    response.on("data", (text: string) => this.#read(text));
    response.on("end", () => (this.hasEnded = true));
    response.on("error", () => {});
  }

  get events(): string[] {
    return this.updates.map(({ event }) => event);
  }

  #read(text: string): void {
    const blocks = (this.#text + text).split("\n\n");
    this.#text = blocks.pop() ?? "";
    for (const block of blocks) {
      const fields = new Map(
        block.split("\n").map((line) => [line.split(": ", 1)[0], line.slice(line.indexOf(": ") + 2)]),
      );
      if (fields.get("event") !== "score") continue;
      this.lastEventId = fields.get("id") ?? "";
      this.updates.push(ScoreUpdate.parse(JSON.parse(fields.get("data") ?? "")));
    }
  }

  [Symbol.dispose](): void {
    this.#request.destroy();
  }
}
