import accepts from "@fastify/accepts";
import { problem } from "@amqp-idioms/service-kit";
import type { FastifyInstance } from "fastify";
import type { Kysely } from "kysely";
import { periodQuery, todayIn } from "./period.ts";
import type { Period } from "./period.ts";
import { countRegistrations } from "./registration-store.ts";
import type { ReportingTables } from "./registration-store.ts";
import { csvOf, reportOf } from "./report.ts";

const forms = ["application/json", "text/csv"];

/** `GET /reports/registrations?from=&to=`, both days inclusive: JSON or CSV, as the Accept header asks. */
export function reportsApi(db: Kysely<ReportingTables>, timeZone: string) {
  return async (http: FastifyInstance): Promise<void> => {
    await http.register(accepts);

    http.get("/reports/registrations", async (request, reply) => {
      reply.header("vary", "accept");
      const form = request.type(forms);
      if (form === false) {
        throw problem(406, "not_acceptable", { detail: `This report is available as ${forms.join(" and as ")}.` });
      }
      const counts = await countRegistrations(db, readPeriod(request.query, todayIn(timeZone)));
      if (form === "text/csv") return reply.type("text/csv; charset=utf-8").send(csvOf(counts));
      return reportOf(counts);
    });
  };
}

/** @throws {HttpProblem} 400, with the invalid fields and the rules */
function readPeriod(query: unknown, today: string): Period {
  const { data, error } = periodQuery(today).safeParse(query);
  if (data !== undefined) return data;
  const errors = error.issues.map(({ path, message }) => ({ path: path.join("."), rule: message }));
  throw problem(400, "invalid_request", { detail: "The query is invalid: see its errors.", errors });
}
