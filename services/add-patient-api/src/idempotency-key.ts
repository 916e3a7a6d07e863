/** The limit of an AMQP short string, in bytes. */
const maxLength = 255;
/** A structured-field string (RFC 9651, 3.3.3): printable ASCII in quotes, with \" and \\ for those two. */
const quoted = /^"((?:[ !#-[\]-~]|\\["\\])*)"$/;
/** Visible ASCII without `"`, `,`, `;` and `\`: UUIDs and the like, as most clients send them. */
const bare = /^[!#-+\--:<-[\]-~]+$/;

/**
 * Parses the header as in the IETF draft (draft-ietf-httpapi-idempotency-key-header-07): `"8e03978e-40d5"`. The same characters without
 * quotes are the same key, so that a client that forgets the quotes does not register a person twice.
 * @returns undefined when the key is invalid, empty or longer than 255 characters, or when there are several
 */
export function readIdempotencyKey(header: string): string | undefined {
  const key = quoted.exec(header)?.[1]?.replaceAll(/\\(.)/g, "$1") ?? bare.exec(header)?.[0];
  return key === undefined || key === "" || key.length > maxLength ? undefined : key;
}
