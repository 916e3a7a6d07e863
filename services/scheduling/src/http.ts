import { problem } from "@amqp-idioms/service-kit";
import type { FastifyInstance } from "fastify";
import type { Kysely } from "kysely";
import { z } from "zod";
import { listAppointments } from "./appointment-store.ts";
import type { SchedulingTables } from "./appointment-store.ts";
import { dayOf } from "./appointments.ts";

const query = z.strictObject({
  date: z.iso
    .date({ error: "must be a day, YYYY-MM-DD", abort: true })
    // The database has these years
    .refine((date) => date >= "1900-01-01" && date < "3000-01-01", "must lie in the years 1900 to 2999")
    .optional(),
});
const mostUpcoming = 100;

/** `GET /appointments?date=`: the appointments of a day in the clinic's time zone; without `date` the next 100. */
export function appointmentsApi(db: Kysely<SchedulingTables>, timeZone: string) {
  return async (http: FastifyInstance): Promise<void> => {
    http.get("/appointments", async (request) => {
      const { date } = readQuery(request.query);
      if (date === undefined) return await listAppointments(db, { from: new Date(), limit: mostUpcoming });
      return await listAppointments(db, dayOf(date, timeZone));
    });
  };
}

/** @throws {HttpProblem} 400, with the invalid fields and the rules */
function readQuery(given: unknown): z.output<typeof query> {
  const { data, error } = query.safeParse(given);
  if (data !== undefined) return data;
  const errors = error.issues.map(({ path, message }) => ({ path: path.join("."), rule: message }));
  throw problem(400, "invalid_request", { detail: "The query is invalid: see its errors.", errors });
}
