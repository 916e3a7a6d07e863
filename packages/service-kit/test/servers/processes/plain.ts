/** A service with a few routes. */
import { setTimeout as sleep } from "node:timers/promises";
import { problem, runService } from "../../../src/index.ts";

await runService({ name: "plain", port: 0, settings: {} }, async ({ http }) => {
  http.get("/hello/:name", async () => ({ hello: "world" }));
  http.get("/slow", async (request) => {
    request.log.info("never seen");
    process.stdout.write("slow has begun\n");
    await sleep(300);
    return { slow: true };
  });
  http.get("/fails", async () => {
    throw new Error("Violet Bloom cannot be found at amqp://user:secret@host");
  });
  http.get("/problem", async () => {
    throw problem(503, "no_responder", {
      detail: "No responder is running.",
      retryable: true,
      headers: { "retry-after": "5" },
    });
  });
  const person = { type: "object", required: ["given"], properties: { given: { type: "string", minLength: 1 } } };
  http.post("/people", { schema: { body: person } }, async () => ({}));
});
