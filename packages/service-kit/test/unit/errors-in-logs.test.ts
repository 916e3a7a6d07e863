import { expect, test } from "vitest";
import { describeError } from "../../src/logger.ts";

test("a logged error has name, message, code, stack frames and cause, and none of its own fields", () => {
  const cause = Object.assign(new TypeError("the cause"), { code: "E_CAUSE", secret: "hidden" });
  const error = Object.assign(new Error("what happened", { cause }), { detail: "Key (surname)=(Bloom) exists." });
  const described = describeError(error);
  expect(described).toEqual({
    type: "Error",
    message: "what happened",
    stack: expect.stringMatching(/^ {4}at /),
    cause: { type: "TypeError", message: "the cause", code: "E_CAUSE", stack: expect.any(String) },
  });
});

test.for([
  [new Error("connect to amqp://user:p@ss/w@host:5672 failed"), "connect to amqp://…@host:5672 failed"],
  [
    Object.assign(new Error('invalid input syntax for type date: "Violet"'), { code: "22007" }),
    "invalid input syntax for type date",
  ],
  [new SyntaxError(`Unexpected token 'V', "Violet" is not valid JSON`), "a text has a syntax error"],
  ["Violet", "a value that is not an Error was thrown"],
])("%s is logged without the values that it quotes", ([error, message]) => {
  const described = describeError(error);
  expect(described.message).toBe(message);
  expect(JSON.stringify(described)).not.toMatch(/Violet|p@ss/);
});
