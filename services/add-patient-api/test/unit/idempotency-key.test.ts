import { describe, expect, test } from "vitest";
import { readIdempotencyKey } from "../../src/idempotency-key.ts";

describe("an Idempotency-Key", () => {
  test("in quotes, as the IETF draft has it, and bare, as most clients send it, is the same key", () => {
    expect(readIdempotencyKey('"8e03978e-40d5-43e8-bc93-6f95aec0a1f0"')).toBe("8e03978e-40d5-43e8-bc93-6f95aec0a1f0");
    expect(readIdempotencyKey("8e03978e-40d5-43e8-bc93-6f95aec0a1f0")).toBe("8e03978e-40d5-43e8-bc93-6f95aec0a1f0");
  });

  test("in quotes may hold spaces, commas, and escaped quotes and backslashes", () => {
    expect(readIdempotencyKey(String.raw`"a \"b\", c; \\d"`)).toBe(String.raw`a "b", c; \d`);
  });

  test("has 1 to 255 characters", () => {
    expect(readIdempotencyKey("k".repeat(255))).toBe("k".repeat(255));
    expect(readIdempotencyKey(`"${"k".repeat(255)}"`)).toBe("k".repeat(255));
    expect(readIdempotencyKey("k".repeat(256))).toBeUndefined();
    expect(readIdempotencyKey(`"${"k".repeat(256)}"`)).toBeUndefined();
    expect(readIdempotencyKey("")).toBeUndefined();
    expect(readIdempotencyKey('""')).toBeUndefined();
  });

  test.each([
    ["two of them", '"a", "b"'],
    ["two bare ones", "a, b"],
    ["an open quote", '"a'],
    ["a quote inside", 'a"b'],
    ["text after the quotes", '"a"b'],
    ["an escape of anything else", String.raw`"a\n"`],
    ["a parameter", '"a";b=1'],
    ["a space without quotes", "a b"],
    ["letters beyond ASCII", '"ä"'],
    ["control characters", '"a\tb"'],
  ])("is refused with %s", (_what, header) => {
    expect(readIdempotencyKey(header)).toBeUndefined();
  });
});
