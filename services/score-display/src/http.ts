import type { FastifyPluginCallback } from "fastify";
import { HttpProblem } from "@amqp-idioms/service-kit";
import type { EventStream } from "./event-stream.ts";
import type { Scoreboard } from "./scoreboard.ts";

/** `GET /scores`, and `GET /scores/events` for those who want to hear at once. */
export function scoresApi(scoreboard: Scoreboard, events: EventStream): FastifyPluginCallback {
  return (http, _options, done) => {
    http.get("/scores", () => scoreboard.newest());

    // HEAD would wait for the end of a stream that has none
    http.get("/scores/events", { exposeHeadRoute: false }, (request, reply) => {
      if (events.isFull) throw new HttpProblem(503, "too_many_clients", { headers: { "retry-after": "30" } });
      const lastEventId = request.headers["last-event-id"];
      reply.hijack();
      events.serve(reply.raw, typeof lastEventId === "string" ? lastEventId : undefined);
    });

    // Before the server waits for its connections to end
    http.addHook("preClose", (done) => {
      events.close();
      done();
    });
    done();
  };
}
