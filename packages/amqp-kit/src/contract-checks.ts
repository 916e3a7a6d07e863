/** Checks what contracts are declared with. Data only: imports nothing. */

/** Codes of error replies that the kit itself sends. The `code` of a declared error is its name. */
const ownErrorCodes = [
  "invalid_message",
  "message_too_large",
  "response_too_large",
  "invalid_response",
  "internal_error",
];
/**
 * Names become exchanges, queues and permission patterns. They have letters, digits, `.`, `_` and `-` only, and are short enough that a queue
 * name with suffixes fits into 255 bytes.
 */
export function checkName<Name extends string>(name: Name): Name {
  if (typeof name !== "string" || !/^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$/.test(name) || name.startsWith("amq.")) {
    throw new TypeError(
      `"${name}" cannot name an exchange, queue or service: 1 to 100 letters, digits, ".", "_" or "-", not beginning with "amq.".`,
    );
  }
  return name;
}

export function checkOptions(where: string, options: object, known: readonly string[]): void {
  const unknown = Object.keys(options).filter((key) => !known.includes(key));
  if (unknown.length > 0)
    throw new TypeError(`${where}: unknown option ${unknown.join(", ")}. Known are ${known.join(", ")}.`);
}

export function checkSchema(where: string, schema: unknown): void {
  const isSchema = (typeof schema === "object" && schema !== null) || typeof schema === "function";
  if (!isSchema || !("~standard" in schema))
    throw new TypeError(`${where} must be a Standard Schema, for example one of zod.`);
}

export function checkErrors(where: string, errors: { readonly [name: string]: unknown }): void {
  for (const [name, schema] of Object.entries(errors)) {
    if (!/^[A-Za-z][A-Za-z0-9_]{0,99}$/.test(name))
      throw new TypeError(`${where}: "${name}" cannot name an error: 1 to 100 letters, digits or "_", a letter first.`);
    if (ownErrorCodes.includes(name))
      throw new TypeError(`${where}: the kit itself answers "${name}". Choose another name.`);
    checkSchema(`${where}: error "${name}"`, schema);
  }
}

export function checkDecoders(where: string, decoders: { readonly [contentType: string]: unknown } = {}): void {
  for (const type of Object.keys(decoders)) {
    if (!/^[a-z0-9.+-]+\/[a-z0-9.+-]+$/.test(type))
      throw new TypeError(
        `${where}: the key of a decoder must be a content type in lower case without parameters, not "${type}".`,
      );
  }
}
