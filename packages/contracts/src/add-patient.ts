import { operation } from "amqp-kit/contract";
import { NewPatient, Patient } from "./patient.ts";
import { z } from "zod";

/** Registers a person. Under one idempotency key this is done once, and each repeat gets the first response. */
export const addPatient = operation("add_patient", {
  exchange: "api",
  request: NewPatient,
  response: Patient,
  timeoutMs: 5_000,
  errors: {
    /** The idempotency key was used with another request. */
    idempotency_key_reused: z.object({}),
  },
  decoders: { "text/plain": fromText },
});

/** The 2009 post's lines: `given:John` and `surname:Smith`. Unknown lines are ignored, like unknown fields. */
function fromText(text: string): unknown {
  const fields = new Map<string, string>();
  for (const line of text.split(/\r?\n/)) {
    const colon = line.indexOf(":");
    if (colon > 0) fields.set(line.slice(0, colon).trim(), line.slice(colon + 1).trim());
  }
  return { given: fields.get("given"), surname: fields.get("surname"), birthDate: fields.get("birthDate") };
}
