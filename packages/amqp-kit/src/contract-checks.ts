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

/** The type of a value in words. Errors name it instead of the value. */
export function typeOf(value: unknown): string {
  return value === null ? "null" : Array.isArray(value) ? "an array" : typeof value;
}

export function isObject(value: unknown): value is object {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** `undefined` in a list is what a module of an import cycle sees before the other module has run. */
export function checkContracts(where: string, contracts: unknown): void {
  if (!Array.isArray(contracts)) throw new TypeError(`${where} must be a list of contracts, not ${typeOf(contracts)}.`);
  for (const [index, contract] of contracts.entries()) {
    if (isObject(contract) && "kind" in contract) continue;
    const hint = contract === undefined ? " Check that its module is not part of an import cycle." : "";
    throw new TypeError(`${where}: item ${index} must be a contract, not ${typeOf(contract)}.${hint}`);
  }
}

export function checkOptions(where: string, options: object, known: readonly string[]): void {
  if (!isObject(options)) throw new TypeError(`${where}: the options must be an object, not ${typeOf(options)}.`);
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
