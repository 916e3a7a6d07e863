/** Fails at the moment that FAILS names. */
import { setTimeout as sleep } from "node:timers/promises";
import { runService } from "../../../src/index.ts";

const wrong = Object.assign(new Error("cannot read postgres://user:secret@host/db"), {
  detail: "Key (surname)=(Bloom) exists.",
});

await runService({ name: "failing", port: 0, settings: {} }, async ({ closeOnStop }) => {
  closeOnStop({ close: () => console.log("closed") });
  switch (process.env["FAILS"]) {
    case "start":
      throw wrong;
    case "uncaught":
      setTimeout(() => {
        throw wrong;
      }, 100);
      return {};
    case "unhandled":
      setTimeout(() => void Promise.reject(wrong), 100);
      return {};
    case "while stopping":
      closeOnStop({
        close: async () => {
          void Promise.reject(wrong);
          await sleep(200);
        },
      });
      return {};
    case "finished":
      return { finished: Promise.reject(wrong) };
    default:
      return { finished: sleep(100) };
  }
});
