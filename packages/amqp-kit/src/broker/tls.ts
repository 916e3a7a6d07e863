import { X509Certificate } from "node:crypto";
import { createSecureContext } from "node:tls";
import type { SecureContext } from "node:tls";
import { UsageError } from "../errors.ts";
import { messageOf } from "../telemetry/log.ts";

/** Reads the certificates to trust and to present, and explains refusals. No option weakens the check of the broker's certificate. */

export interface TlsOptions {
  /** Certificates of the trusted authorities in PEM, one or several. They replace those that Node.js trusts. @default those of Node.js */
  ca?: string | Buffer | undefined;
  /** The certificate to present to a broker that asks for one, in PEM, followed by the intermediate certificates. @default none */
  cert?: string | Buffer | undefined;
  /** The private key of `cert` in PEM, without a passphrase. */
  key?: string | Buffer | undefined;
}

/**
 * Checks the options, which Node.js does not: it ignores a `ca` that contains no certificate and then trusts nobody or all its own authorities,
 * and notices a `cert` without a `key` only when a broker asks for it.
 * @throws {UsageError} names the fault, never the content
 */
export function secureContext({ ca, cert, key }: TlsOptions): SecureContext {
  if ((cert === undefined) !== (key === undefined))
    throw new UsageError(
      "tls.cert and tls.key (AMQP_CERT_FILE and AMQP_KEY_FILE) belong together: set both or neither.",
    );
  if (ca !== undefined && !holdsCertificate(ca))
    throw new UsageError("tls.ca (AMQP_CA_FILE) must be a certificate in PEM.");
  if (cert !== undefined && !holdsCertificate(cert))
    throw new UsageError("tls.cert (AMQP_CERT_FILE) must be a certificate in PEM.");
  try {
    return createSecureContext({ ...(ca !== undefined && { ca }), ...(cert !== undefined && { cert, key }) });
  } catch (error) {
    const isOther = nodeCodeOf(error) === "ERR_OSSL_X509_KEY_VALUES_MISMATCH";
    const fault = isOther ? "is not the key of tls.cert" : "must be a private key in PEM, without a passphrase";
    throw new UsageError(`tls.key (AMQP_KEY_FILE) ${fault}.`);
  }
}

function holdsCertificate(pem: string | Buffer): boolean {
  try {
    return pem.includes("-----BEGIN CERTIFICATE-----") && new X509Certificate(pem).subject !== undefined;
  } catch {
    return false;
  }
}

/** By the error codes of Node.js: those of OpenSSL's verification unchanged, those of its protocol with the prefix `ERR_SSL_`. */
const advices: readonly [RegExp, (where: string, why: string) => string][] = [
  [
    /^ERR_TLS_CERT_ALTNAME_INVALID$/,
    (where, why) =>
      `The certificate of the broker at ${where} is not for this host name: ${why}. Use a host name in the URL that the certificate contains, or give the broker a certificate for this name.`,
  ],
  [
    /^CERT_HAS_EXPIRED$/,
    (where) => `The certificate of the broker at ${where}, or its authority's, has expired. Renew it there.`,
  ],
  [
    /^CERT_NOT_YET_VALID$/,
    (where) => `The certificate of the broker at ${where} is not valid yet. Compare the clocks of both machines.`,
  ],
  [
    /^INVALID_PURPOSE$/,
    (where) =>
      `The certificate of the broker at ${where} is not a server certificate. Give the broker one for serverAuth.`,
  ],
  [
    /^(CERT_|DEPTH_ZERO|SELF_SIGNED|UNABLE_TO_|INVALID_CA)/,
    (where, why) =>
      `The certificate of the broker at ${where} is signed by an authority that is not trusted here: ${why}. Set tls.ca (AMQP_CA_FILE) to the certificate of that authority.`,
  ],
  [
    /^ERR_SSL_.*ALERT_CERTIFICATE_REQUIRED$/,
    (where) =>
      `The broker at ${where} asks for a client certificate. Give one: tls.cert and tls.key, or AMQP_CERT_FILE and AMQP_KEY_FILE.`,
  ],
  [
    /^ERR_SSL_.*ALERT_(UNKNOWN_CA|(BAD|UNSUPPORTED)_CERTIFICATE|CERTIFICATE_\w+|ACCESS_DENIED)$/,
    (where, why) =>
      `The broker at ${where} refuses the client certificate: ${why}. Check tls.cert, or AMQP_CERT_FILE, and whom the broker trusts.`,
  ],
  [
    /^ERR_SSL_(WRONG_VERSION_NUMBER|PACKET_LENGTH_TOO_LONG)$/,
    (where) =>
      `The server at ${where} does not speak TLS. Check the port (5671 by default), or use amqp:// for a broker without TLS.`,
  ],
  [
    /^ERR_(SSL|TLS)_/,
    (where, why) =>
      `The broker at ${where} and this client do not agree on TLS: ${why}. The broker may ask for a client certificate, or speak only versions that are not safe.`,
  ],
];

/** @returns what is wrong with certificates or TLS, if no retry can fix it; undefined for any other error */
export function tlsAdvice(error: unknown, where: string): string | undefined {
  const code = nodeCodeOf(error);
  const [, advice] = advices.find(([pattern]) => pattern.test(code)) ?? [];
  return advice?.(where, reasonOf(error));
}

function nodeCodeOf(error: unknown): string {
  return error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : "";
}

/** OpenSSL's messages begin with memory addresses and end with lines of its source. `reason` is the part for people. */
function reasonOf(error: unknown): string {
  const reason = error instanceof Error && "reason" in error ? error.reason : undefined;
  return (typeof reason === "string" ? reason : messageOf(error)).replace(/\.$/, "");
}
