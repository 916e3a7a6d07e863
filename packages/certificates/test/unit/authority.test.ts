import { X509Certificate } from "node:crypto";
import { once } from "node:events";
import { connect, createServer, type ConnectionOptions, type TlsOptions } from "node:tls";
import { text } from "node:stream/consumers";
import { describe, expect, test } from "vitest";
import { type Authority, createAuthority, type Issued, loadAuthority } from "../../src/index.ts";

const dayMs = 86_400_000;
const hostNames = ["localhost", "broker.example", "127.0.0.1", "::1"];
const authority = await createAuthority({ name: "Test authority", days: 10 });

/** What the server says to a client that trusts `ca`. @throws the client's error, or the server's refusal */
async function greeting(server: Issued, client: ConnectionOptions, options: TlsOptions = {}): Promise<string> {
  const listening = createServer({ cert: server.certificatePem, key: server.keyPem, ...options }, (socket) =>
    socket.on("error", () => {}).end("hello"),
  ).listen(0, "127.0.0.1");
  await once(listening, "listening");
  const address = listening.address();
  const port = typeof address === "object" ? address?.port : undefined;
  try {
    return await text(connect({ port, host: "127.0.0.1", ...client }));
  } finally {
    listening.close();
  }
}

describe("An authority", () => {
  test("can sign certificates of servers and clients, but not of other authorities", () => {
    const certificate = new X509Certificate(authority.certificatePem);
    expect(certificate.ca).toBe(true);
    expect(certificate.subject).toBe("CN=Test authority");
    expect(certificate.checkIssued(certificate)).toBe(true);
    expect(Math.round((certificate.validToDate.getTime() - Date.now()) / dayMs)).toBe(10);
  });

  test("that is loaded from PEM issues certificates that its clients accept", async () => {
    const kept: Issued = structuredClone({ certificatePem: authority.certificatePem, keyPem: authority.keyPem });
    const again = await loadAuthority(kept);
    expect(again).toMatchObject(kept);
    const server = await again.issue({ hostNames });
    expect(await greeting(server, { ca: authority.certificatePem, servername: "localhost" })).toBe("hello");
  });

  test("is refused with the key of another, and if its certificate is not that of an authority", async () => {
    const other = await createAuthority({ name: "Other", days: 1 });
    await expect(loadAuthority({ ...authority, keyPem: other.keyPem })).rejects.toThrow(
      "The key does not belong to the authority CN=Test authority.",
    );
    await expect(loadAuthority(await authority.issue({ hostNames }))).rejects.toThrow("is not that of an authority");
  });
});

describe("A server certificate", () => {
  test("is signed by its authority and valid only for its names and addresses", async () => {
    const { certificatePem, keyPem } = await authority.issue({ hostNames });
    const certificate = new X509Certificate(certificatePem);
    const issuer = new X509Certificate(authority.certificatePem);
    expect(certificate.checkIssued(issuer)).toBe(true);
    expect(certificate.verify(issuer.publicKey)).toBe(true);
    expect(certificate.ca).toBe(false);
    expect(certificate.keyUsage).toEqual(["1.3.6.1.5.5.7.3.1"]);
    expect(certificate.validToDate).toEqual(issuer.validToDate);
    expect(certificate.checkHost("broker.example")).toBe("broker.example");
    expect(certificate.checkHost("other.example")).toBeUndefined();
    expect([certificate.checkIP("127.0.0.1"), certificate.checkIP("::1")]).toEqual(["127.0.0.1", "::1"]);
    expect(certificate.checkIP("127.0.0.2")).toBeUndefined();
    expect(keyPem).toMatch(/^-----BEGIN PRIVATE KEY-----/);
  });

  test.for([
    ["an authority that the client does not trust", {}, "other", "localhost", "UNABLE_TO_VERIFY_LEAF_SIGNATURE"],
    ["a name that is not its own", {}, "same", "elsewhere.example", "ERR_TLS_CERT_ALTNAME_INVALID"],
    [
      "a time that is over",
      { notBefore: new Date(Date.now() - 2 * dayMs), notAfter: new Date(Date.now() - dayMs) },
      "same",
      "localhost",
      "CERT_HAS_EXPIRED",
    ],
    ["a time that is to come", { notBefore: new Date(Date.now() + dayMs) }, "same", "localhost", "CERT_NOT_YET_VALID"],
    ["a client's purpose", { client: true }, "same", "localhost", "INVALID_PURPOSE"],
  ] as const)("is refused for %s", async ([, request, whose, servername, code]) => {
    const trusted: Authority = whose === "same" ? authority : await createAuthority({ name: "Other", days: 1 });
    const server = await authority.issue({ hostNames, ...request });
    await expect(greeting(server, { ca: trusted.certificatePem, servername })).rejects.toMatchObject({ code });
  });
});

describe("A client certificate", () => {
  const ca = authority.certificatePem;

  test("is accepted by a server that requires one, and a client without one is refused", async () => {
    const server = await authority.issue({ hostNames });
    const client = await authority.issue({ hostNames: [], commonName: "scheduling", client: true });
    expect(new X509Certificate(client.certificatePem).subject).toBe("CN=scheduling");
    const asking = { ca, requestCert: true, rejectUnauthorized: true };
    const shown = { cert: client.certificatePem, key: client.keyPem };
    expect(await greeting(server, { ca, servername: "localhost", ...shown }, asking)).toBe("hello");
    await expect(greeting(server, { ca, servername: "localhost" }, asking)).rejects.toMatchObject({
      code: "ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED",
    });
  });

  test("needs a common name", async () => {
    await expect(authority.issue({ hostNames: [], client: true })).rejects.toThrow(
      "a client certificate needs a commonName",
    );
    await expect(authority.issue({ hostNames: [], commonName: "broker" })).rejects.toThrow("needs hostNames");
  });
});
