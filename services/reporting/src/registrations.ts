import { Temporal } from "temporal-polyfill";

/** In completed years on the day of registration. */
export const ageBands = ["0-17", "18-39", "40-64", "65+", "unknown"] as const;
export type AgeBand = (typeof ageBands)[number];

/** What reporting stores of a patient. `day` is `YYYY-MM-DD`. */
export interface Registration {
  readonly patientId: string;
  readonly day: string;
  readonly ageBand: AgeBand;
}

/** @param timeZone  IANA name of the time zone in which the day of registration is determined */
export function registrationOf(
  patient: { patientId: string; birthDate: string | null; registeredAt: string },
  timeZone: string,
): Registration {
  // Date.parse accepts any number of decimals, as RFC 3339 does; Temporal accepts at most nine
  const registeredAt = Temporal.Instant.fromEpochMilliseconds(Date.parse(patient.registeredAt));
  const day = registeredAt.toZonedDateTimeISO(timeZone).toPlainDate().toString();
  return { patientId: patient.patientId, day, ageBand: ageBandOn(day, patient.birthDate) };
}

/**
 * Age increases on the birthday, and for a birthday on 29 February on 1 March of a year without that day. A birth date after `day`
 * is a mistake and gives "unknown", since the patient is registered nevertheless.
 * @param day, birthDate  `YYYY-MM-DD`
 */
export function ageBandOn(day: string, birthDate: string | null): AgeBand {
  if (birthDate === null || birthDate > day) return "unknown";
  const hadBirthday = day.slice(5) >= birthDate.slice(5);
  const age = Number(day.slice(0, 4)) - Number(birthDate.slice(0, 4)) - (hadBirthday ? 0 : 1);
  if (age < 18) return "0-17";
  if (age < 40) return "18-39";
  if (age < 65) return "40-64";
  return "65+";
}
