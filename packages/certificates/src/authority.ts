// oxlint-disable-next-line import/no-unassigned-import -- x509 does not load without it
import "reflect-metadata";
import { createPrivateKey, KeyObject, webcrypto, X509Certificate as NodeCertificate } from "node:crypto";
import { isIP } from "node:net";
import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  KeyUsageFlags,
  KeyUsagesExtension,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  X509Certificate,
  X509CertificateGenerator,
} from "@peculiar/x509";

/** A private certificate authority according to RFC 5280. OpenSSL, Node.js and Erlang accept its certificates. */

const algorithm = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" };
const dayMs = 86_400_000;
/** Certificates are valid from five minutes before their creation, because clocks differ. */
const clockSkewMs = 5 * 60_000;

/** A certificate and its private key (PKCS #8), both PEM. Keep the key secret: its owner can act as the subject of the certificate. */
export interface Issued {
  readonly certificatePem: string;
  readonly keyPem: string;
}

export interface CertificateRequest {
  /** The DNS names and IP addresses at which clients connect; a client certificate needs none */
  hostNames: readonly string[];
  /** @default the first of `hostNames` */
  commonName?: string;
  /** @default five minutes ago */
  notBefore?: Date;
  /** @default the end of the authority's own validity */
  notAfter?: Date;
  /** True for a client certificate (`clientAuth`), false for a server certificate (`serverAuth`). @default false */
  client?: boolean;
}

/** A certificate authority. Processes that should accept its certificates must trust its `certificatePem`. */
export interface Authority extends Issued {
  /** Issues a certificate with a new key. @throws Error if the request has neither host names nor, for a client, a common name */
  issue(request: CertificateRequest): Promise<Issued>;
}

/**
 * Creates an authority.
 * @param options.name  its common name
 * @param options.days  how many days it and its certificates are valid
 * @example
 * const authority = await createAuthority({ name: "amqp-idioms", days: 365 });
 * const broker = await authority.issue({ hostNames: ["rabbitmq", "127.0.0.1"] });
 */
export async function createAuthority({ name, days }: { name: string; days: number }): Promise<Authority> {
  const keys = await webcrypto.subtle.generateKey(algorithm, true, ["sign", "verify"]);
  const certificate = await X509CertificateGenerator.createSelfSigned({
    name: [{ CN: [name] }],
    notBefore: new Date(Date.now() - clockSkewMs),
    notAfter: new Date(Date.now() + days * dayMs),
    keys,
    signingAlgorithm: algorithm,
    extensions: [
      // It signs certificates of servers and clients, but not of other authorities
      new BasicConstraintsExtension(true, 0, true),
      new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
      await SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  return authorityOf(certificate, keys.privateKey);
}

/**
 * Loads a stored authority, so that it can issue more certificates.
 * @throws Error if the certificate is not that of an authority, or the key does not belong to it
 */
export async function loadAuthority({ certificatePem, keyPem }: Issued): Promise<Authority> {
  const certificate = new NodeCertificate(certificatePem);
  if (!certificate.ca)
    throw new Error(
      `The certificate of ${certificate.subject} is not that of an authority. Pass the certificate that createAuthority returned.`,
    );
  const key = createPrivateKey(keyPem);
  if (!certificate.checkPrivateKey(key))
    throw new Error(
      `The key does not belong to the authority ${certificate.subject}. Pass the key that was created with the certificate.`,
    );
  return authorityOf(new X509Certificate(certificatePem), key.toCryptoKey(algorithm, true, ["sign"]));
}

function authorityOf(authority: X509Certificate, signingKey: webcrypto.CryptoKey): Authority {
  const issue = async (request: CertificateRequest): Promise<Issued> => {
    const { hostNames, commonName = hostNames[0], client = false } = request;
    if (commonName === undefined || (hostNames.length === 0 && !client))
      throw new Error("A server certificate needs hostNames, and a client certificate needs a commonName.");
    const keys = await webcrypto.subtle.generateKey(algorithm, true, ["sign", "verify"]);
    const names = hostNames.map((value) => ({ type: isIP(value) === 0 ? "dns" : "ip", value }) as const);
    const certificate = await X509CertificateGenerator.create({
      subject: [{ CN: [commonName] }],
      issuer: authority.subjectName,
      notBefore: request.notBefore ?? new Date(Date.now() - clockSkewMs),
      notAfter: request.notAfter ?? authority.notAfter,
      publicKey: keys.publicKey,
      signingKey,
      signingAlgorithm: algorithm,
      extensions: [
        new BasicConstraintsExtension(false, undefined, true),
        new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
        new ExtendedKeyUsageExtension([client ? ExtendedKeyUsage.clientAuth : ExtendedKeyUsage.serverAuth]),
        ...(names.length > 0 ? [new SubjectAlternativeNameExtension(names)] : []),
        await SubjectKeyIdentifierExtension.create(keys.publicKey),
        await AuthorityKeyIdentifierExtension.create(authority.publicKey),
      ],
    });
    return pemOf(certificate, keys.privateKey);
  };
  return { ...pemOf(authority, signingKey), issue };
}

function pemOf(certificate: X509Certificate, key: webcrypto.CryptoKey): Issued {
  return {
    certificatePem: `${certificate.toString("pem")}\n`,
    keyPem: KeyObject.from(key).export({ type: "pkcs8", format: "pem" }),
  };
}
