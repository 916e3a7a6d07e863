import { operation } from "amqp-kit/contract";
import { Patient, PatientRef } from "./patient.ts";

/** Finds a patient by id. */
export const getPatient = operation("get_patient", {
  exchange: "api",
  request: PatientRef,
  response: Patient,
  timeoutMs: 2_000,
  errors: { patient_not_found: PatientRef },
});
