import { expect, test } from "vitest";
import { newPatient, personHash } from "../../src/patients.ts";

const person = { given: "Zebedee", surname: "Quartermain", birthDate: "1990-02-28" };

test("A new patient has the person's fields, an id and the time, and nothing else", () => {
  const registeredAt = new Date("2026-03-01T09:30:00.123Z");
  const asked = { ...person, admin: true };
  expect(newPatient(asked, "5a8b6a2e-7c67-4b21-9f5c-1d1f1cf7f6a0", registeredAt)).toEqual({
    ...person,
    patientId: "5a8b6a2e-7c67-4b21-9f5c-1d1f1cf7f6a0",
    registeredAt,
  });
});

test("The same person has the same hash, whatever the order of the fields", () => {
  expect(personHash({ birthDate: person.birthDate, surname: person.surname, given: person.given })).toBe(
    personHash(person),
  );
});

test.each([
  ["another given name", { ...person, given: "Zelda" }],
  ["another surname", { ...person, surname: "Quarterman" }],
  ["another birth date", { ...person, birthDate: "1990-02-27" }],
  ["no birth date", { ...person, birthDate: null }],
  ["the same letters, divided otherwise", { ...person, given: "ZebedeeQ", surname: "uartermain" }],
])("%s changes the hash", (_what, other) => {
  expect(personHash(other)).not.toBe(personHash(person));
});
