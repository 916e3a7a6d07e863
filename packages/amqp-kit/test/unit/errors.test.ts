/** docs/errors.md and the code say the same, in both directions. */
import { readFileSync } from "node:fs";
import { describe, expect, test, vi } from "vitest";
import { z } from "zod";
import { brand } from "../../src/brand.ts";
import { operation } from "../../src/contract.ts";
import * as kit from "../../src/index.ts";
import { deadLetterReasons } from "../../src/notify/dead-letter.ts";
import { delayAfter } from "../../src/notify/retry.ts";
import { problemFor } from "../../src/request-response/problem.ts";

const docs = readFileSync(new URL("../../../../docs/errors.md", import.meta.url), "utf8");
const source = (file: string): string => readFileSync(new URL(`../../src/${file}`, import.meta.url), "utf8");

/** The rows of the table whose first column is headed so, as lists of cells. */
function table(heading: string): string[][] {
  const [, body = ""] = docs.split(`| ${heading} |`);
  const lines = body.split("\n").slice(2);
  const rows = lines.slice(
    0,
    lines.findIndex((line) => !line.startsWith("|")),
  );
  return rows.map((row) =>
    row
      .split("|")
      .slice(1, -1)
      .map((cell) => cell.trim()),
  );
}

const asked = operation("quote", {
  exchange: "shop",
  request: z.string(),
  response: z.string(),
  timeoutMs: 1,
  errors: { gone: z.string() },
});
const published = { exchange: "shop", routingKey: "", messageId: "id-1" };
type ErrorClass = typeof kit.AmqpKitError;

/** One of each class, as the kit makes them. */
const errors: kit.AmqpKitError[] = [
  new kit.UsageError("misused"),
  new kit.ClosedError("closed"),
  new kit.ConnectionError("lost", { retryable: true }),
  new kit.TopologyError("other flags"),
  new kit.InvalidMessageError("quote", [{ path: "article", rule: "is missing" }]),
  new kit.MessageTooLargeError("quote", "body", 2, 1),
  new kit.PublishError("not confirmed", { reason: "timeout", ...published }),
  new kit.NoResponderError(asked, "not-executed", "no queue is bound"),
  new kit.RequestTimeoutError(asked, 1, "unknown"),
  new kit.TooManyRequestsError(asked, 1_000),
  new kit.OperationError(asked, "gone", "lamp"),
  new kit.RemoteError(asked, { code: "internal_error", detail: "", retryable: true, issues: [] }),
  new kit.RetryLater({ delayMs: 1_000 }),
  new kit.Reject("the article was discontinued"),
];

describe("docs/errors.md", () => {
  const rows = table("class, code");

  test("has a row for each class of src/errors.ts with its code, and no other", () => {
    const classes = [...source("errors.ts").matchAll(/^export class (\w+)/gm)].map(([, name]) => name);
    expect(new Set([...errors.map(({ name }) => name), "AmqpKitError"])).toEqual(new Set(classes));
    for (const name of classes) expect(kit).toHaveProperty(String(name));
    expect(new Set(rows.map(([first]) => first))).toEqual(
      new Set(errors.map(({ name, code }) => `\`${name}\` \`${code}\``)),
    );
    expect(rows).toHaveLength(errors.length);
  });

  test("has every code that src/errors.ts declares, and no other", () => {
    const declared = [...source("errors.ts").matchAll(/\| "(AMQP_KIT_\w+)"/g)].map(([, code]) => code);
    expect(declared).toHaveLength(errors.length);
    expect(new Set(errors.map(({ code }) => code))).toEqual(new Set(declared));
  });

  test.for(errors)("says what $name means and what to do, and whether it is retryable as the code does", (error) => {
    const [, meaning = "", remedy = "", retryable = "", outcome = ""] =
      rows.find(([first]) => first?.includes(error.code)) ?? [];
    expect(meaning.length).toBeGreaterThan(20);
    expect(remedy.length).toBeGreaterThan(20);
    expect(retryable).toMatch(error.retryable ? /^yes$|^as / : /^no$|^as /);
    expect(outcome !== "-").toBe("outcome" in error);
    expect(outcome).toContain("outcome" in error ? `\`${String(error.outcome)}\`` : "-");
  });

  test("has each code that an error reply may carry, with a remedy, and no other", () => {
    const wire = table("code");
    const answered = [...source("request-response/problem.ts").matchAll(/code: "([a-z_]+)"/g)].map(
      ([, code]) => code ?? "",
    );
    expect(new Set(wire.map(([code]) => code?.replaceAll("`", "")))).toEqual(new Set(answered));
    for (const [, meaning = "", remedy = ""] of wire) {
      expect(meaning.length).toBeGreaterThan(20);
      expect(remedy.length).toBeGreaterThan(20);
    }
    // A declared error of that name could not be told from the kit's own
    for (const code of answered) {
      const options = { exchange: "shop", request: z.string(), response: z.string(), timeoutMs: 1 };
      expect(() => operation("quote", { ...options, errors: { [code]: z.string() } })).toThrow(
        "the kit itself answers",
      );
    }
  });

  test("has each reason for which a notification is dead-lettered, with a remedy, and no other", () => {
    const reasons = deadLetterReasons.map((reason) => `\`${reason}\``);
    const documented = table("reason");
    expect(new Set(documented.map(([reason]) => reason))).toEqual(new Set(reasons));
    for (const [, meaning = "", remedy = ""] of documented) {
      expect(meaning.length).toBeGreaterThan(20);
      expect(remedy.length).toBeGreaterThan(20);
    }
  });
});

function outcome(reason: kit.PublishFailure): string {
  return new kit.PublishError("", { reason, ...published }).outcome;
}

describe("an error", () => {
  test.for(errors)("$name names itself, and is an AmqpKitError with a stable code (pitfall 67)", (error) => {
    expect(error).toBeInstanceOf(kit.AmqpKitError);
    expect(error.name).toBe(error.constructor.name);
    expect(String(error)).toBe(`${error.name}: ${error.message}`);
    expect(error.code).toMatch(/^AMQP_KIT_[A-Z_]+$/);
    expect(error.message).toMatch(/^\S.*$/s);
  });

  test("that the operation declares is recognised by operation and name", () => {
    const gone = new kit.OperationError(asked, "gone", "lamp");
    expect(kit.OperationError.is(gone, asked, "gone")).toBe(true);
    expect(kit.OperationError.is(gone, { ...asked, name: "other" }, "gone")).toBe(false);
    expect(kit.OperationError.is(new Error("gone"), asked, "gone")).toBe(false);
    expect(kit.OperationError.is(undefined, asked, "gone")).toBe(false);
  });

  test("of a handler that asks for another attempt names a delay that can be waited for", () => {
    expect(new kit.RetryLater({ delayMs: 0 }).delayMs).toBe(0);
    for (const delayMs of [-1, Number.NaN, Infinity])
      expect(() => new kit.RetryLater({ delayMs })).toThrow(kit.UsageError);
  });

  test("of a publish is certain only where the broker returned the message", () => {
    expect(outcome("unroutable")).toBe("not-executed");
    expect([outcome("refused"), outcome("timeout"), outcome("channel-lost")]).toEqual([
      "unknown",
      "unknown",
      "unknown",
    ]);
  });
});

describe("an error of another copy of the kit in the same process", async () => {
  vi.resetModules();
  const copy = await import("../../src/index.ts");

  test("is an instance of the same class, and of no other", () => {
    for (const { name } of errors) {
      const [ours, theirs] = [kit, copy].map((module) => Reflect.get(module, name)) as [ErrorClass, ErrorClass];
      expect(theirs).not.toBe(ours);
      const error: unknown = Object.create(theirs.prototype);
      expect(error).toBeInstanceOf(ours);
      expect(error).toBeInstanceOf(kit.AmqpKitError);
      const classes = errors.filter((other) => error instanceof other.constructor);
      expect(classes.map((other) => other.name)).toEqual([name]);
    }
    expect(new Error("rejected")).not.toBeInstanceOf(kit.Reject);
    expect(null).not.toBeInstanceOf(kit.Reject);
  });

  test("decides about another attempt, and answers what the operation declares", () => {
    expect(delayAfter(1, new copy.Reject("out of paper"), [1_000, 5_000])).toBeUndefined();
    expect(delayAfter(1, new copy.RetryLater({ delayMs: 5_000 }), [1_000, 5_000])).toBe(5_000);
    const gone = new copy.OperationError(asked, "gone", "lamp");
    expect(kit.OperationError.is(gone, asked, "gone")).toBe(true);
    expect(problemFor(asked, gone).code).toBe("gone");
  });

  test("of a class that extends one of the kit's is recognised by its prototype, and keeps its own name", () => {
    class OutOfPaper extends kit.Reject {}
    expect(new OutOfPaper("out of paper")).toBeInstanceOf(OutOfPaper);
    expect(new OutOfPaper("out of paper").name).toBe("OutOfPaper");
    expect(new OutOfPaper("out of paper")).toBeInstanceOf(copy.Reject);
    expect(new copy.Reject("out of paper")).not.toBeInstanceOf(OutOfPaper);
  });
});

test("classes that a bundler has renamed have their own names", () => {
  class Yt extends Error {}
  brand({ OutOfPaper: Yt });
  expect(Yt.name).toBe("OutOfPaper");
});
