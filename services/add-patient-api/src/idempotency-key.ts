/** 255 bytes are what an AMQP short string holds. */
const maxLength = 255;
/** A structured-field string (RFC 9651, 3.3.3): printable ASCII in quotes, with \" and \\ for those two. */
const quoted = /^"((?:[ !#-[\]-~]|\\["\\])*)"$/;
/** Visible ASCII without `"`, `,`, `;` and `\`: UUIDs and the like, as most clients send them. */
const bare = /^[!#-+\--:<-[\]-~]+$/;

/**
 * Reads the header as the IETF draft has it (draft-ietf-httpapi-idempotency-key-header-07): `"8e03978e-40d5"`. The same characters without
 * quotes are the same key: nobody who forgets them, or whose library does, shall register somebody twice.
 * @returns undefined when it is neither, empty, longer than 255 characters, or there are several
 */
export function readIdempotencyKey(header: string): string | undefined {
  const key = quoted.exec(header)?.[1]?.replaceAll(/\\(.)/g, "$1") ?? bare.exec(header)?.[0];
  return key === undefined || key === "" || key.length > maxLength ? undefined : key;
}
