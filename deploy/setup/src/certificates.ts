import { X509Certificate } from "node:crypto";
import { join } from "node:path";
import { type Authority, createAuthority, loadAuthority } from "@amqp-idioms/certificates";
import { put, textOf } from "./secrets.ts";

/** Creates a private certificate authority, whose key stays in setup's own folder, and the broker's certificate. */

const dayMs = 86_400_000;
const authorityDays = 3_650;
const certificateDays = 397;
/** The next `up` renews a certificate that expires within this time. */
const renewWithinDays = 30;

/**
 * @param hosts  the host names of the broker's nodes
 * @param readers  the folders into which the authority's certificate is written
 */
export async function writeCertificates(
  folder: string,
  hosts: readonly string[],
  readers: readonly string[],
): Promise<void> {
  const authority = await authorityIn(join(folder, "setup"));
  for (const reader of readers) await put(join(folder, reader, "ca.pem"), authority.certificatePem);
  const file = join(folder, "rabbitmq", "certificate.pem");
  const present = await textOf(file);
  if (present !== undefined && isValid(new X509Certificate(present), authority, hosts)) return;
  const notAfter = new Date(Date.now() + certificateDays * dayMs);
  const { certificatePem, keyPem } = await authority.issue({ hostNames: hosts, notAfter });
  await put(join(folder, "rabbitmq", "key.pem"), keyPem);
  await put(file, certificatePem);
}

async function authorityIn(folder: string): Promise<Authority> {
  const [certificatePem, keyPem] = [await textOf(join(folder, "ca.pem")), await textOf(join(folder, "ca-key.pem"))];
  if (certificatePem !== undefined && keyPem !== undefined) return loadAuthority({ certificatePem, keyPem });
  const authority = await createAuthority({ name: "AMQP Idioms, private", days: authorityDays });
  await put(join(folder, "ca-key.pem"), authority.keyPem, 0o600);
  await put(join(folder, "ca.pem"), authority.certificatePem);
  return authority;
}

function isValid(certificate: X509Certificate, authority: Authority, hosts: readonly string[]): boolean {
  return (
    certificate.checkIssued(new X509Certificate(authority.certificatePem)) &&
    hosts.every((host) => certificate.checkHost(host) !== undefined) &&
    Date.parse(certificate.validTo) > Date.now() + renewWithinDays * dayMs
  );
}
