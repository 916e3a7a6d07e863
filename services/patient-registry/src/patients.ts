import { createHash } from "node:crypto";

export interface Person {
  given: string;
  surname: string;
  /** `YYYY-MM-DD`, null when unknown */
  birthDate: string | null;
}

export interface Patient extends Person {
  patientId: string;
  registeredAt: Date;
}

export function newPatient({ given, surname, birthDate }: Person, patientId: string, registeredAt: Date): Patient {
  return { patientId, given, surname, birthDate, registeredAt };
}

/** Equal for the same person, whatever the order, spacing or format of the request's fields. */
export function personHash({ given, surname, birthDate }: Person): string {
  return createHash("sha256")
    .update(JSON.stringify([given, surname, birthDate]))
    .digest("hex");
}
