import { z } from "zod";
import { instant } from "./instant.ts";

/** Not every database returns control characters and unpaired surrogates unchanged. */
const name = z
  .string()
  .trim()
  .min(1)
  .max(200)
  .regex(/^[^\p{Cc}\p{Cs}]*$/u, "must not contain control characters");
/** PostgreSQL has no year 0. */
const date = z.iso.date().refine((text) => !text.startsWith("0000"), "must be of the year 0001 or later");

/** A registered patient. `birthDate` is null when unknown. */
export const Patient = z
  .object({
    patientId: z.uuid(),
    given: name,
    surname: name,
    birthDate: date.nullable(),
    registeredAt: instant,
  })
  .meta({ id: "Patient" });
export type Patient = z.output<typeof Patient>;

/** A person to register. */
export const NewPatient = z
  .object({
    given: name,
    surname: name,
    birthDate: date.nullish().transform((date) => date ?? null),
  })
  .meta({ id: "NewPatient" });
export type NewPatient = z.output<typeof NewPatient>;

export const PatientRef = z.object({ patientId: z.uuid() }).meta({ id: "PatientRef" });
export type PatientRef = z.output<typeof PatientRef>;
