import type { FastifyPluginCallback } from "fastify";
import { problem } from "@amqp-idioms/service-kit";
import type { EventStream } from "./event-stream.ts";
import type { Scoreboard } from "./scoreboard.ts";

/** `GET /scores`, and `GET /scores/events` as a stream. */
export function scoresApi(scoreboard: Scoreboard, events: EventStream): FastifyPluginCallback {
  return (http, _options, done) => {
    http.get("/scores", (_request, reply) => reply.header("cache-control", "no-store").send(scoreboard.newest()));

    // HEAD would wait for the end of a stream that never ends
    http.get("/scores/events", { exposeHeadRoute: false }, (request, reply) => {
      if (events.isFull) {
        const detail = "Too many clients are connected.";
        throw problem(503, "too_many_clients", { detail, retryable: true, headers: { "retry-after": "30" } });
      }
      const lastEventId = request.headers["last-event-id"];
      reply.hijack();
      events.serve(reply.raw, typeof lastEventId === "string" ? lastEventId : undefined);
    });

    // Runs before the server waits for its connections to end
    http.addHook("preClose", (done) => {
      events.close();
      done();
    });
    done();
  };
}
