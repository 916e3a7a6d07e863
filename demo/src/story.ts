import type { Observed } from "./report.ts";
import type { Demo } from "./steps/demo.ts";
import { restartBroker } from "./steps/broker-restart.ts";
import { addOnePatient } from "./steps/patient-added.ts";
import { stopRegistry } from "./steps/registry-stopped.ts";
import { stopScheduling } from "./steps/scheduling-stopped.ts";
import { showScores } from "./steps/scores.ts";

export interface Step {
  name: string;
  /** What the reader should notice in the step's output */
  notice: string;
  /** @throws {CheckFailed} when something that the step promises is not observed */
  run: (demo: Demo) => Promise<Observed>;
}

/** The story: five steps, in this order, on the same running system. */
export const story: readonly Step[] = [
  {
    name: "Broadcast: live scores",
    notice: "a display shows exactly the updates sent while it was listening; the producer waits for no display",
    run: showScores,
  },
  {
    name: "Request/response and notify: a patient is added",
    notice: "the reply arrives on the API's own reply queue; scheduling and reporting both receive the notification",
    run: addOnePatient,
  },
  {
    name: "Notify: scheduling is stopped for a while",
    notice: "its queue keeps the notifications; none is lost, and none takes effect twice",
    run: stopScheduling,
  },
  {
    name: "Request/response: patient-registry is stopped for a while",
    notice:
      "the API answers 503 immediately, because nobody consumes the request queue; repeats under one Idempotency-Key add one patient",
    run: stopRegistry,
  },
  {
    name: "All three idioms: the broker restarts under load",
    notice: "clients repeat what failed, services reconnect on their own, and each patient is booked and counted once",
    run: restartBroker,
  },
];
