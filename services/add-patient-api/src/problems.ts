import { addPatient, getPatient } from "@amqp-idioms/contracts";
import { problem } from "@amqp-idioms/service-kit";
import type { HttpProblem } from "@amqp-idioms/service-kit";
import { AmqpKitError, NoResponderError, OperationError, RemoteError, RequestTimeoutError } from "amqp-kit";
import type { Issue } from "amqp-kit";
import { hasZodFastifySchemaValidationErrors } from "fastify-type-provider-zod";

/** What becomes of an error over HTTP, under the `code` that it has on the wire. @returns undefined for one that nobody expects */
export function toProblem(error: unknown): HttpProblem | undefined {
  if (hasZodFastifySchemaValidationErrors(error)) {
    const invalid = error.validation.map(({ instancePath, message }) => ({
      path: instancePath.slice(1).replaceAll("/", "."),
      rule: message ?? "is not valid",
    }));
    return invalidMessage(invalid);
  }
  if (error instanceof Error && "statusCode" in error && error.statusCode === 400) {
    return invalidMessage([{ path: "", rule: "must be a JSON object" }]);
  }
  return error instanceof AmqpKitError ? kitProblem(error) : undefined;
}

export function patientNotFound(): HttpProblem {
  return problem(404, "patient_not_found", { detail: "No patient has this id." });
}

function invalidMessage(errors: readonly Issue[]): HttpProblem {
  return problem(400, "invalid_message", { detail: "The request is not valid: see its errors.", errors });
}

const repeat = "Repeat it, a POST under the same Idempotency-Key: then it happens once.";

function kitProblem(error: AmqpKitError): HttpProblem | undefined {
  const code = error.code.replace("AMQP_KIT_", "").toLowerCase();
  const { retryable } = error;
  if (OperationError.is(error, getPatient, "patient_not_found")) return patientNotFound();
  if (OperationError.is(error, addPatient, "idempotency_key_reused")) {
    const detail = "This Idempotency-Key was used before, with another body. A new request needs a new key.";
    return problem(422, error.error, { detail, retryable });
  }
  if (error instanceof RemoteError && error.remoteCode === "invalid_message") return invalidMessage(error.issues);
  if (error instanceof RemoteError) {
    const detail = retryable ? `The responder failed. ${repeat}` : "The responder could not answer.";
    return problem(502, error.remoteCode, { detail, retryable, cause: error });
  }
  if (error instanceof RequestTimeoutError) {
    const detail = `There was no answer within ${error.timeoutMs} ms. It may have happened all the same. ${repeat}`;
    return problem(504, code, { detail, retryable });
  }
  if (!retryable && error.code !== "AMQP_KIT_CLOSED") return undefined;
  const why = error instanceof NoResponderError ? "Nobody is there to take it." : "The broker did not take it.";
  return problem(503, code, { detail: `${why} ${repeat}`, retryable: true, headers: { "retry-after": "2" } });
}
