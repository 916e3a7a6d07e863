import accepts from "@fastify/accepts";
import { problem } from "@amqp-idioms/service-kit";
import type { FastifyInstance, FastifyRequest } from "fastify";
import type { Kysely } from "kysely";
import { reportQuery, todayIn } from "./report-query.ts";
import type { ReportQuery } from "./report-query.ts";
import { countRegistrations } from "./registration-store.ts";
import type { ReportingTables } from "./registration-store.ts";
import { csvOf, reportOf } from "./report.ts";

/** Each form also with its charset: an Accept header with a parameter matches only a type with the same parameter. */
const forms = ["application/json", "application/json; charset=utf-8", "text/csv", "text/csv; charset=utf-8"];

/** `GET /reports/registrations?from=&to=&format=`, both days inclusive: JSON or CSV, as `format` or else the Accept header asks. */
export function reportsApi(db: Kysely<ReportingTables>, timeZone: string) {
  return async (http: FastifyInstance): Promise<void> => {
    await http.register(accepts);

    http.get("/reports/registrations", async (request, reply) => {
      reply.header("vary", "accept");
      const query = readQuery(request.query, todayIn(timeZone));
      const format = query.format ?? acceptedFormat(request);
      const counts = await countRegistrations(db, query);
      if (format === "json") return reportOf(counts);
      // A browser that follows a link with `format` saves the answer under this name
      if (query.format !== undefined) {
        const file = `registrations-${query.from}-to-${query.to}.csv`;
        reply.header("content-disposition", `attachment; filename="${file}"`);
      }
      return reply.type("text/csv; charset=utf-8").send(csvOf(counts));
    });
  };
}

/** @throws {HttpProblem} 406 */
function acceptedFormat(request: FastifyRequest): "json" | "csv" {
  const form = request.type(forms);
  if (typeof form === "string") return form.startsWith("text/csv") ? "csv" : "json";
  throw problem(406, "not_acceptable", {
    detail:
      "This report is available as application/json and as text/csv, both in UTF-8. Ask for one of them in Accept, or with ?format=json or ?format=csv.",
  });
}

/** @throws {HttpProblem} 400, with the invalid fields and the rules */
function readQuery(query: unknown, today: string): ReportQuery {
  const { data, error } = reportQuery(today).safeParse(query);
  if (data !== undefined) return data;
  const errors = error.issues.map(({ path, message }) => ({ path: path.join("."), rule: message }));
  throw problem(400, "invalid_request", { detail: "The query is invalid: see its errors.", errors });
}
