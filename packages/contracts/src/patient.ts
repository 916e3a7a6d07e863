import { z } from "zod";

const name = z.string().trim().min(1).max(200);

/** What the registry keeps, and what others learn of it. `birthDate` is null when unknown. */
export const Patient = z
  .object({
    patientId: z.uuid(),
    given: name,
    surname: name,
    birthDate: z.iso.date().nullable(),
    registeredAt: z.iso.datetime(),
  })
  .meta({ id: "Patient" });
export type Patient = z.output<typeof Patient>;

/** A person to register. */
export const NewPatient = z
  .object({
    given: name,
    surname: name,
    birthDate: z.iso
      .date()
      .nullish()
      .transform((date) => date ?? null),
  })
  .meta({ id: "NewPatient" });
export type NewPatient = z.output<typeof NewPatient>;

export const PatientRef = z.object({ patientId: z.uuid() }).meta({ id: "PatientRef" });
export type PatientRef = z.output<typeof PatientRef>;
