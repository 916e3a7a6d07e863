import { expect, test } from "vitest";
import { addPatient, NewPatient, ScoreUpdate, scoreUpdates } from "../../src/index.ts";

const sentAt = new Date("2009-11-20T12:00:00Z");

test("The two lines of the post become a score update with the time of the message", () => {
  expect(ScoreUpdate.parse(readScore("AL 24: FL 7\nTouch down by Tim Tebow"))).toEqual({
    match: "AL - FL",
    home: { team: "AL", score: 24 },
    away: { team: "FL", score: 7 },
    event: "Touch down by Tim Tebow",
    at: "2009-11-20T12:00:00.000Z",
  });
});

test("A message without a time gets the current time", () => {
  const before = Date.now();
  const { at } = ScoreUpdate.parse(readScore("AL 24: FL 7", { sentAt: undefined }));
  expect(Date.parse(at)).toBeGreaterThanOrEqual(before);
  expect(Date.parse(at)).toBeLessThanOrEqual(Date.now());
});

test.each([
  ["Real Madrid 2: 1. FC Köln 3\r\nGoal\r\n", ["Real Madrid", 2, "1. FC Köln", 3, "Goal"]],
  ["Schalke 04 1: TSV 1860 2", ["Schalke 04", 1, "TSV 1860", 2, ""]],
  ["  AL 0: FL 0  \nKick-off\nin the rain", ["AL", 0, "FL", 0, "Kick-off\nin the rain"]],
])("%j is parsed as a score", (text, expected) => {
  const { home, away, event } = ScoreUpdate.parse(readScore(text));
  expect([home.team, home.score, away.team, away.score, event]).toEqual(expected);
});

test.each(["", "\n", "Touch down!", "AL 24 FL 7", "AL: FL", "AL 24: FL x", "AL 24: FL 77777"])(
  "%j is refused, and the error shows a valid score",
  (text) => {
    expect(() => readScore(text)).toThrow('the first line must read like "AL 24: FL 7"');
  },
);

test("The lines of the post become a new patient", () => {
  const ada = { given: "Ada", surname: "King: Lovelace", birthDate: null };
  expect(NewPatient.parse(readPerson("given:Ada\nsurname: King: Lovelace"))).toEqual(ada);
  expect(NewPatient.parse(readPerson("surname:King: Lovelace\r\n\r\nward:B\r\ngiven:Ada\r\n"))).toEqual(ada);
  expect(NewPatient.parse(readPerson("given:Ada\nsurname:King: Lovelace\nbirthDate:1815-12-10"))).toEqual({
    ...ada,
    birthDate: "1815-12-10",
  });
});

test("A missing line is a fault of its field", () => {
  const issues = NewPatient.safeParse(readPerson("given:Ada\n:\nno colon")).error?.issues ?? [];
  expect(issues.map(({ path }) => path.join("."))).toEqual(["surname"]);
});

function readScore(text: string, properties: { sentAt: Date | undefined } = { sentAt }): unknown {
  return scoreUpdates.decoders["text/plain"]?.(text, properties);
}

function readPerson(text: string): unknown {
  return addPatient.decoders["text/plain"]?.(text, { sentAt });
}
