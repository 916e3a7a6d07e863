/** Limits on the size of bodies, headers and short strings, in bytes. */

export const maxBodyBytes = 1024 * 1024;
export const maxHeaderBytes = 32 * 1024;
/** AMQP 0-9-1, 4.2.5.3: a short string's length is one octet. */
export const maxShortString = 255;

/** The approximate size of a header value on the wire, in bytes. */
export function sizeOf(value: unknown): number {
  if (value === null || value === undefined) return 1;
  if (typeof value === "string") return 5 + Buffer.byteLength(value);
  // Not `Buffer.isBuffer`: it is also true for a table whose prototype a header named `__proto__` has set to a Buffer.
  if (ArrayBuffer.isView(value)) return 5 + value.byteLength;
  if (typeof value !== "object") return 9;
  let bytes = 5;
  for (const [key, item] of Object.entries(value)) bytes += 1 + Buffer.byteLength(key) + sizeOf(item);
  return bytes;
}
