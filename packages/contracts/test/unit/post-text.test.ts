import { expect, test } from "vitest";
import { addPatient, NewPatient, ScoreUpdate, scoreUpdates } from "../../src/index.ts";

const sentAt = new Date("2009-11-20T12:00:00Z");

test("the post's two lines are a score update, at the time that the message says", () => {
  expect(ScoreUpdate.parse(readScore("AL 24: FL 7\nTouch down by Tim Tebow"))).toEqual({
    match: "AL - FL",
    home: { team: "AL", score: 24 },
    away: { team: "FL", score: 7 },
    event: "Touch down by Tim Tebow",
    at: "2009-11-20T12:00:00.000Z",
  });
});

test("a message without a time counts as sent now", () => {
  const before = Date.now();
  const { at } = ScoreUpdate.parse(readScore("AL 24: FL 7", { sentAt: undefined }));
  expect(Date.parse(at)).toBeGreaterThanOrEqual(before);
  expect(Date.parse(at)).toBeLessThanOrEqual(Date.now());
});

test.each([
  ["Real Madrid 2: 1. FC Köln 3\r\nGoal\r\n", ["Real Madrid", 2, "1. FC Köln", 3, "Goal"]],
  ["Schalke 04 1: TSV 1860 2", ["Schalke 04", 1, "TSV 1860", 2, ""]],
  ["  AL 0: FL 0  \nKick-off\nin the rain", ["AL", 0, "FL", 0, "Kick-off\nin the rain"]],
])("%j is read as its sender meant it", (text, expected) => {
  const { home, away, event } = ScoreUpdate.parse(readScore(text));
  expect([home.team, home.score, away.team, away.score, event]).toEqual(expected);
});

test.each(["", "\n", "Touch down!", "AL 24 FL 7", "AL: FL", "AL 24: FL x", "AL 24: FL 77777"])(
  "%j is no score, and the error says what one reads like",
  (text) => {
    expect(() => readScore(text)).toThrow('the first line must read like "AL 24: FL 7"');
  },
);

test("the post's lines are a person to register", () => {
  const ada = { given: "Ada", surname: "King: Lovelace", birthDate: null };
  expect(NewPatient.parse(readPerson("given:Ada\nsurname: King: Lovelace"))).toEqual(ada);
  expect(NewPatient.parse(readPerson("surname:King: Lovelace\r\n\r\nward:B\r\ngiven:Ada\r\n"))).toEqual(ada);
  expect(NewPatient.parse(readPerson("given:Ada\nsurname:King: Lovelace\nbirthDate:1815-12-10"))).toEqual({
    ...ada,
    birthDate: "1815-12-10",
  });
});

test("a line that is missing is a fault of that field", () => {
  const issues = NewPatient.safeParse(readPerson("given:Ada\n:\nno colon")).error?.issues ?? [];
  expect(issues.map(({ path }) => path.join("."))).toEqual(["surname"]);
});

function readScore(text: string, properties: { sentAt: Date | undefined } = { sentAt }): unknown {
  return scoreUpdates.decoders["text/plain"]?.(text, properties);
}

function readPerson(text: string): unknown {
  return addPatient.decoders["text/plain"]?.(text, { sentAt });
}
