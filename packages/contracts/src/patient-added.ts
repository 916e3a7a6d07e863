import { notification } from "amqp-kit/contract";
import type { z } from "zod";
import { Patient } from "./patient.ts";

/** A patient was registered. */
export const PatientAdded = Patient;
export type PatientAdded = z.output<typeof PatientAdded>;

export const patientAdded = notification("notify.patient.add", { message: PatientAdded });
