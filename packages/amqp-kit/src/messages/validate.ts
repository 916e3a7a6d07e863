import type { Output, Schema } from "../contract.ts";
import { InvalidMessageError } from "../errors.ts";
import type { Issue } from "../errors.ts";

/** A message may break its schema in a million places, or at a name of a million letters. */
const maxIssues = 100;
const maxIssueText = 200;

/** @returns the output of the schema. @throws {InvalidMessageError} */
export function validate<S extends Schema>(contract: string, schema: S, value: unknown): Output<S> {
  const result = resultOf(schema, value);
  if (result instanceof Error || result instanceof Promise) {
    // Zod returns a promise if a schema throws, as a recursive one does on arrays nested a hundred thousand deep.
    if (result instanceof Promise) result.catch(() => undefined);
    const rule = "its schema is asynchronous, or throws";
    throw new InvalidMessageError(contract, [{ path: "", rule }]);
  }
  if (result.issues === undefined) return result.value;
  const { vendor } = schema["~standard"];
  throw new InvalidMessageError(
    contract,
    result.issues.slice(0, maxIssues).map((issue) => toIssue(issue, vendor)),
  );
}

function resultOf(schema: Schema, value: unknown): ReturnType<Schema["~standard"]["validate"]> | Error {
  try {
    return schema["~standard"].validate(value);
  } catch (error) {
    return error instanceof Error ? error : new Error("the schema threw");
  }
}

/** Zod's messages quote no value. Those of other libraries do, so only the path of their issues is reported. */
function toIssue(
  issue: { message: string; path?: readonly (PropertyKey | { key: PropertyKey })[] | undefined },
  vendor: string,
): Issue {
  const path = (issue.path ?? []).map((part) => String(typeof part === "object" ? part.key : part)).join(".");
  const rule = vendor === "zod" ? issue.message : "does not match its schema";
  return { path: path.slice(0, maxIssueText), rule: rule.slice(0, maxIssueText).replace(/\.$/, "") };
}
