import type { Input, Schema } from "../contract.ts";
import { InvalidMessageError, MessageTooLargeError } from "../errors.ts";
import { maxBodyBytes } from "./limits.ts";
import { validate } from "./validate.ts";

/**
 * Validates and encodes a message.
 * @throws {InvalidMessageError} {MessageTooLargeError} before anything is sent
 */
export function encode<S extends Schema>(contract: string, schema: S, value: Input<S>): Buffer {
  const valid = validate(contract, schema, value);
  let text: string | undefined;
  try {
    text = JSON.stringify(valid);
  } catch {
    text = undefined;
  }
  if (text === undefined) throw new InvalidMessageError(contract, [{ path: "", rule: "has no JSON form" }]);
  const body = Buffer.from(text);
  if (body.length > maxBodyBytes) throw new MessageTooLargeError(contract, "body", body.length, maxBodyBytes);
  return body;
}
