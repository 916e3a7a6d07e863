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

/** A private certificate authority, as RFC 5280 has it: what OpenSSL, Node.js and Erlang accept of one another. */

const algorithm = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" };
const dayMs = 86_400_000;
/** Certificates are valid from a little before they were made: no two clocks agree. */
const clockSkewMs = 5 * 60_000;

/** A certificate and its private key (PKCS #8), both PEM. Whoever has the key is who the certificate names. */
export interface Issued {
  readonly certificatePem: string;
  readonly keyPem: string;
}

export interface CertificateRequest {
  /** DNS names and IP addresses that clients may reach it by; a client's own certificate needs none */
  hostNames: readonly string[];
  /** @default the first of `hostNames` */
  commonName?: string;
  /** @default five minutes ago */
  notBefore?: Date;
  /** @default as long as its authority */
  notAfter?: Date;
  /** Of one who asks (`clientAuth`), instead of one who answers (`serverAuth`). @default false */
  client?: boolean;
}

/** `certificatePem` is what others must trust. */
export interface Authority extends Issued {
  /** @throws Error for a request that names nobody */
  issue(request: CertificateRequest): Promise<Issued>;
}

/**
 * A new authority.
 * @param options.name  its common name
 * @param options.days  how long it is valid, and with it what it issues
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
      // It signs what servers and clients show, and no other authority
      new BasicConstraintsExtension(true, 0, true),
      new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
      await SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  return authorityOf(certificate, keys.privateKey);
}

/**
 * The authority that was created before and kept, so that it can issue more.
 * @throws Error when the certificate is no authority's, or the key not the certificate's
 */
export async function loadAuthority({ certificatePem, keyPem }: Issued): Promise<Authority> {
  const certificate = new NodeCertificate(certificatePem);
  if (!certificate.ca) throw new Error(`The certificate of ${certificate.subject} is not an authority's.`);
  const key = createPrivateKey(keyPem);
  if (!certificate.checkPrivateKey(key))
    throw new Error(`The key is not that of the authority ${certificate.subject}.`);
  return authorityOf(new X509Certificate(certificatePem), key.toCryptoKey(algorithm, true, ["sign"]));
}

function authorityOf(authority: X509Certificate, signingKey: webcrypto.CryptoKey): Authority {
  const issue = async (request: CertificateRequest): Promise<Issued> => {
    const { hostNames, commonName = hostNames[0], client = false } = request;
    if (commonName === undefined || (hostNames.length === 0 && !client))
      throw new Error("A server's certificate needs host names, a client's a common name.");
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
