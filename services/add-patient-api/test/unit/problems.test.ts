import { addPatient, getPatient } from "@amqp-idioms/contracts";
import {
  ClosedError,
  ConnectionError,
  NoResponderError,
  OperationError,
  PublishError,
  RemoteError,
  RequestTimeoutError,
  TooManyRequestsError,
  UsageError,
} from "amqp-kit";
import { expect, test } from "vitest";
import { toProblem } from "../../src/problems.ts";

const issues = [{ path: "given", rule: "is too long" }];
const remote = { detail: "", retryable: false, issues: [] };
const unconfirmed = { reason: "refused", exchange: "api", routingKey: "add_patient", messageId: undefined } as const;

test.each([
  [new OperationError(getPatient, "patient_not_found", { patientId: "p" }), 404, "patient_not_found"],
  [new OperationError(addPatient, "idempotency_key_reused", {}), 422, "idempotency_key_reused"],
  [new RemoteError(addPatient, { ...remote, code: "invalid_message", issues }), 400, "invalid_message"],
  [new RemoteError(addPatient, { ...remote, code: "internal_error" }), 502, "internal_error"],
  [new RemoteError(addPatient, { ...remote, code: "response_too_large" }), 502, "response_too_large"],
  [
    new RemoteError(addPatient, { code: "invalid_response", detail: "", retryable: false, issues: [] }),
    502,
    "invalid_response",
  ],
  [new NoResponderError(addPatient, "not-executed", "why"), 503, "no_responder"],
  [new ConnectionError("lost", { retryable: true }), 503, "connection"],
  [new PublishError("refused", unconfirmed), 503, "publish"],
  [new TooManyRequestsError(addPatient, 1_000), 503, "too_many_requests"],
  [new ClosedError("closed"), 503, "closed"],
  [new RequestTimeoutError(addPatient, 5_000, "unknown"), 504, "request_timeout"],
])("%o becomes problem details with the code that it has on the wire", (error, status, code) => {
  const problem = toProblem(error);
  expect(problem).toMatchObject({ status, code });
  expect(problem?.headers["retry-after"] !== undefined).toBe(status === 503);
  expect(problem?.toJSON()).toMatchObject({ detail: expect.any(String) });
});

test("The fields that the registry refuses are listed", () => {
  const problem = toProblem(new RemoteError(addPatient, { ...remote, code: "invalid_message", issues }));
  expect(problem?.toJSON()).toMatchObject({ errors: issues });
});

test("A usage error or an unexpected error has no problem details", () => {
  expect(toProblem(new UsageError("wrong"))).toBeUndefined();
  expect(toProblem(new TypeError("wrong"))).toBeUndefined();
  expect(toProblem("wrong")).toBeUndefined();
});
