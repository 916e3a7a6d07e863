/** A service as small as can be. */
import { runService } from "../../../src/index.ts";

await runService({ name: "plain", port: 0, settings: {} }, async ({ http }) => {
  http.get("/hello", async () => ({ hello: "world" }));
});
