import type { IncomingHttpHeaders } from "node:http";
import { addPatient, getPatient, NewPatient, Patient, PatientRef } from "@amqp-idioms/contracts";
import type { system } from "@amqp-idioms/contracts";
import { HttpProblem, problem } from "@amqp-idioms/service-kit";
import type { Amqp } from "amqp-kit";
import type { FastifyInstance, FastifyReply } from "fastify";
import { serializerCompiler, validatorCompiler } from "fastify-type-provider-zod";
import type { FastifyPluginAsyncZod } from "fastify-type-provider-zod";
import { z } from "zod";
import { readIdempotencyKey } from "./idempotency-key.ts";
import { Problem } from "./open-api.ts";
import { patientNotFound, toProblem } from "./problems.ts";

const maxBodyBytes = 16 * 1024;

const IdempotencyKey = z.string().transform((header, context) => {
  const key = readIdempotencyKey(header);
  if (key !== undefined) return key;
  context.addIssue("must be one string of 1 to 255 printable ASCII characters, in double quotes or without spaces");
  return z.NEVER;
});

/** `POST /patients` and `GET /patients/:patientId`: each sends a request to patient-registry and waits while its client is connected. */
export function patientsApi(amqp: Amqp<(typeof system)["add-patient-api"]>): FastifyPluginAsyncZod {
  return async (http) => {
    http.setValidatorCompiler(validatorCompiler);
    http.setSerializerCompiler(serializerCompiler);
    acceptJsonOnly(http);
    http.addHook("onSend", async (_request, reply) => void reply.header("cache-control", "no-store"));
    http.setErrorHandler((error, _request, reply) => {
      // The client has disconnected
      if (reply.raw.destroyed) return void reply.hijack();
      throw toProblem(error) ?? error;
    });

    http.post(
      "/patients",
      {
        bodyLimit: maxBodyBytes,
        schema: {
          summary: "Registers a person",
          description: "A repeat under the same Idempotency-Key within 24 hours gets the first response.",
          headers: z.object({ "idempotency-key": IdempotencyKey.optional() }),
          body: NewPatient,
          response: { 201: Patient, ...problems(400, 413, 415, 422, 429, 502, 503, 504) },
        },
      },
      async (request, reply) => {
        const idempotencyKey = request.headers["idempotency-key"];
        const patient = await amqp.request(addPatient, request.body, {
          signal: whileConnected(reply),
          ...(idempotencyKey !== undefined && { idempotencyKey }),
        });
        return reply.code(201).header("location", `/patients/${patient.patientId}`).send(patient);
      },
    );

    http.get(
      "/patients/:patientId",
      {
        schema: {
          summary: "Finds a patient",
          params: z.object({ patientId: z.string() }),
          response: { 200: Patient, ...problems(404, 429, 502, 503, 504) },
        },
      },
      async (request, reply) => {
        const ref = PatientRef.safeParse(request.params);
        if (!ref.success) throw patientNotFound();
        return amqp.request(getPatient, ref.data, { signal: whileConnected(reply) });
      },
    );
  };
}

/** A form on another site can send other content types without a CORS preflight. */
function acceptJsonOnly(http: FastifyInstance): void {
  http.removeContentTypeParser("text/plain");
  const parseJson = http.getDefaultJsonParser("error", "error");
  http.addContentTypeParser<Buffer>("application/json", { parseAs: "buffer" }, (request, body, done) => {
    const text = readUtf8(body, request.headers);
    return text instanceof HttpProblem ? done(text) : parseJson(request, text, done);
  });
}

/** Fastify would replace bytes that are not UTF-8 by U+FFFD, and they would be stored in a name. */
function readUtf8(body: Buffer, headers: IncomingHttpHeaders): string | HttpProblem {
  const charset = /;\s*charset="?([^";\s]*)/i.exec(headers["content-type"] ?? "")?.[1] ?? "utf-8";
  const encoding = headers["content-encoding"] ?? "identity";
  if (!/^utf-?8$/i.test(charset) || encoding !== "identity")
    return problem(415, "unsupported_media_type", { detail: "The body must be JSON in UTF-8, not compressed." });
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(body);
  } catch {
    return problem(400, "invalid_message", { detail: "The body is not UTF-8." });
  }
}

function problems<Status extends number>(
  ...statuses: Status[]
): Record<Status, { content: Record<string, { schema: typeof Problem }> }>;
function problems(...statuses: number[]): Record<number, unknown> {
  return Object.fromEntries(
    statuses.map((status) => [
      status,
      { description: "Problem", content: { "application/problem+json": { schema: Problem } } },
    ]),
  );
}

/**
 * Aborts when the client disconnects before it has its response. Fastify's `request.signal` aborts too early: Node.js closes the
 * request as soon as its body is read.
 */
function whileConnected({ raw }: FastifyReply): AbortSignal {
  const disconnected = new AbortController();
  raw.once("close", () => {
    if (!raw.writableFinished) disconnected.abort();
  });
  return disconnected.signal;
}
