import { randomUUID } from "node:crypto";
import type { Options } from "amqplib";
import type { Contract } from "../contract.ts";
import { UsageError } from "../errors.ts";
import { maxShortString } from "./limits.ts";

export const json = "application/json";

/** The properties of every message that the kit sends. They are information: no receiver trusts them. */
export function propertiesOf(
  contract: Contract,
  service: string,
  messageId: string,
): Options.Publish & { messageId: string } {
  return {
    contentType: json,
    messageId,
    timestamp: Math.floor(Date.now() / 1000),
    type: contract.name,
    appId: service,
  };
}

/** @returns the given id, or a new one. @throws {UsageError} an id that AMQP cannot encode */
export function messageIdOf(given: string | undefined): string {
  return given === undefined ? randomUUID() : shortString("messageId", given);
}

/** @throws {UsageError} a string that is empty or longer than the 255 bytes of an AMQP short string (specification 4.2.5.3) */
export function shortString(name: string, value: string): string {
  if (typeof value === "string" && value !== "" && Buffer.byteLength(value) <= maxShortString) return value;
  throw new UsageError(`${name} must be a string of 1 to ${maxShortString} bytes.`);
}
