import { addPatient, getPatient } from "@amqp-idioms/contracts";
import { problem } from "@amqp-idioms/service-kit";
import type { HttpProblem } from "@amqp-idioms/service-kit";
import { AmqpKitError, NoResponderError, OperationError, RemoteError, RequestTimeoutError } from "amqp-kit";
import type { Issue } from "amqp-kit";
import { hasZodFastifySchemaValidationErrors } from "fastify-type-provider-zod";

/** Converts an error to problem details with the `code` that it has on the wire. @returns undefined for an unexpected error */
export function toProblem(error: unknown): HttpProblem | undefined {
  if (hasZodFastifySchemaValidationErrors(error)) {
    const invalid = error.validation.map(({ instancePath, message }) => ({
      path: instancePath.slice(1).replaceAll("/", "."),
      rule: message ?? "is invalid",
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
  return problem(400, "invalid_message", { detail: "The request is invalid: see its errors.", errors });
}

const repeat = "Repeat the request; repeat a POST under the same Idempotency-Key, so that it is executed once.";

function kitProblem(error: AmqpKitError): HttpProblem | undefined {
  const code = error.code.replace("AMQP_KIT_", "").toLowerCase();
  const { retryable } = error;
  if (OperationError.is(error, getPatient, "patient_not_found")) return patientNotFound();
  if (OperationError.is(error, addPatient, "idempotency_key_reused")) {
    const detail = "This Idempotency-Key was used with another body. Use a new key for a new request.";
    return problem(422, error.error, { detail, retryable });
  }
  if (error instanceof RemoteError && error.remoteCode === "invalid_message") return invalidMessage(error.issues);
  if (error instanceof RemoteError) {
    const detail = retryable ? `The responder failed. ${repeat}` : "The responder could not respond.";
    return problem(502, error.remoteCode, { detail, retryable, cause: error });
  }
  if (error instanceof RequestTimeoutError) {
    const detail = `No response arrived within ${error.timeoutMs} ms. The request may have been executed. ${repeat}`;
    return problem(504, code, { detail, retryable });
  }
  if (!retryable && error.code !== "AMQP_KIT_CLOSED") return undefined;
  const why = error instanceof NoResponderError ? "No responder is running." : "The broker did not accept the request.";
  return problem(503, code, { detail: `${why} ${repeat}`, retryable: true, headers: { "retry-after": "2" } });
}
