import { expect, test } from "vitest";
import type { z } from "zod";
import {
  addPatient,
  getPatient,
  NewPatient,
  Patient,
  patientAdded,
  PatientRef,
  ScoreUpdate,
  scoreUpdates,
} from "../../src/index.ts";

const update = {
  match: "Final: Argentina - France",
  home: { team: "Argentina", score: 3 },
  away: { team: "France", score: 3 },
  event: "Goal by Kylian Mbappé, 118' (penalty)",
  at: "2022-12-18T17:45:12.345Z",
};
const patient = {
  patientId: "018f3f7a-5a51-7cc8-8f6e-0c8d0f9b2c11",
  given: "Ada",
  surname: "Lovelace",
  birthDate: "1815-12-10",
  registeredAt: "2026-06-01T09:30:00Z",
};

test.each<[string, z.ZodType, unknown]>([
  ["a score update", ScoreUpdate, update],
  ["a score update about nothing in particular", ScoreUpdate, { ...update, event: "" }],
  ["a patient", Patient, patient],
  ["a patient of unknown age", Patient, { ...patient, birthDate: null }],
  ["a patient's id", PatientRef, { patientId: patient.patientId }],
])("%s is valid, and so is its parsed output", (_what, schema, example) => {
  const output = schema.parse(example);
  expect(output).toEqual(example);
  expect(schema.parse(JSON.parse(JSON.stringify(output)))).toEqual(output);
});

test("The birth date of a new patient is optional, and spaces around names are removed", () => {
  const ada = { given: "Ada", surname: "Lovelace", birthDate: null };
  expect(NewPatient.parse({ given: " Ada", surname: "Lovelace\n" })).toEqual(ada);
  expect(NewPatient.parse(ada)).toEqual(ada);
});

test.each([
  ["2026-11-30T20:53:53+00:00", "2026-11-30T20:53:53Z"],
  ["2026-11-30T20:53:53-00:00", "2026-11-30T20:53:53Z"],
  ["2026-11-30T20:53:53.123456+05:30", "2026-11-30T15:23:53.123456Z"],
  ["2026-12-31T23:59:59.999999999-00:01", "2027-01-01T00:00:59.999999999Z"],
  ["0001-01-01T00:00:00-14:00", "0001-01-01T14:00:00Z"],
  ["2026-11-30T20:53:53.10Z", "2026-11-30T20:53:53.10Z"],
])("The instant %s with an offset of RFC 3339 becomes %s", (written, inUtc) => {
  expect(ScoreUpdate.parse({ ...update, at: written }).at).toBe(inUtc);
  expect(Patient.parse({ ...patient, registeredAt: written }).registeredAt).toBe(inUtc);
});

test("A score update must hold the whole score (pitfall 79)", () => {
  const { match, home, away, event, at } = update;
  for (const change of [
    { match, event, at },
    { match, home, event, at },
    { match, away, event, at },
  ]) {
    expect(ScoreUpdate.safeParse(change).success).toBe(false);
  }
});

test("Fields that a newer sender adds are dropped (pitfall 122)", () => {
  expect(ScoreUpdate.parse({ ...update, home: { ...update.home, shots: 7 }, stadium: "Lusail" })).toEqual(update);
  expect(Patient.parse({ ...patient, ward: "B" })).toEqual(patient);
});

test.each<[string, z.ZodType, unknown]>([
  ["match", ScoreUpdate, { ...update, match: "" }],
  ["match", ScoreUpdate, { ...update, match: "x".repeat(201) }],
  ["home.team", ScoreUpdate, { ...update, home: { team: "", score: 0 } }],
  ["home.score", ScoreUpdate, { ...update, home: { team: "A", score: 1.5 } }],
  ["away.score", ScoreUpdate, { ...update, away: { team: "A", score: -1 } }],
  ["away.score", ScoreUpdate, { ...update, away: { team: "A", score: "3" } }],
  ["away", ScoreUpdate, { ...update, away: undefined }],
  ["event", ScoreUpdate, { ...update, event: "x".repeat(501) }],
  ["at", ScoreUpdate, { ...update, at: "2022-12-18" }],
  ["at", ScoreUpdate, { ...update, at: "2022-12-18T17:45:12" }],
  ["at", ScoreUpdate, { ...update, at: "2022-12-18T17:45:12+0100" }],
  ["at", ScoreUpdate, { ...update, at: "2022-12-18T17:45:12+25:00" }],
  ["at", ScoreUpdate, { ...update, at: "2022-02-30T17:45:12+01:00" }],
  ["at", ScoreUpdate, { ...update, at: "9999-12-31T23:30:00-01:00" }],
  ["at", ScoreUpdate, { ...update, at: "0001-01-01T00:30:00+01:00" }],
  ["patientId", Patient, { ...patient, patientId: "7" }],
  ["given", Patient, { ...patient, given: "  " }],
  ["surname", Patient, { ...patient, surname: "x".repeat(201) }],
  ["birthDate", Patient, { ...patient, birthDate: "10.12.1815" }],
  ["birthDate", Patient, { ...patient, birthDate: "2025-02-29" }],
  ["birthDate", Patient, { ...patient, birthDate: undefined }],
  ["registeredAt", Patient, { ...patient, registeredAt: "today" }],
  ["registeredAt", Patient, { ...patient, registeredAt: "0000-12-31T23:59:59Z" }],
  ["given", Patient, { ...patient, given: "A\u0000da" }],
  ["birthDate", Patient, { ...patient, birthDate: "0000-01-01" }],
  ["surname", NewPatient, { given: "Ada", surname: "Love\nlace" }],
  ["surname", NewPatient, { given: "Ada" }],
  ["birthDate", NewPatient, { given: "Ada", surname: "Lovelace", birthDate: "" }],
  ["patientId", PatientRef, {}],
])("An invalid %s is the only fault", (field, schema, example) => {
  const issues = schema.safeParse(example).error?.issues ?? [];
  expect(issues.map(({ path }) => path.join("."))).toEqual([field]);
});

test("Exchanges, queues and time limits match the wire table", () => {
  expect([scoreUpdates.kind, scoreUpdates.name]).toEqual(["broadcast", "score_updates"]);
  expect([patientAdded.kind, patientAdded.name]).toEqual(["notification", "notify.patient.add"]);
  expect([addPatient.exchange, addPatient.name, addPatient.timeoutMs]).toEqual(["api", "add_patient", 5_000]);
  expect([getPatient.exchange, getPatient.name, getPatient.timeoutMs]).toEqual(["api", "get_patient", 2_000]);
});
