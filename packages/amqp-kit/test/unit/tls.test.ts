import { createAuthority } from "@amqp-idioms/certificates";
import { describe, expect, test } from "vitest";
import { connect, ConnectionError, UsageError } from "../../src/index.ts";
import { readUrls } from "../../src/broker/url.ts";
import { tlsAdvice } from "../../src/broker/tls.ts";
import { system } from "../contracts.ts";

const authority = await createAuthority({ name: "Test authority", days: 1 });
const client = await authority.issue({ hostNames: [], commonName: "till", client: true });
const other = await authority.issue({ hostNames: [], commonName: "other", client: true });
const ca = authority.certificatePem;
const cert = client.certificatePem;
const key = client.keyPem;
const bytes = /-----BEGIN|MI[\w+/]{8}/;

describe("certificates", () => {
  test("are for the amqps URLs among several", () => {
    const [first, second] = readUrls(["amqp://one", "amqps://two"], { ca, cert, key });
    expect(first?.secureContext).toBeUndefined();
    expect(second?.secureContext).toBeDefined();
    expect(readUrls("amqps://two")[0]?.secureContext).toBeUndefined();
  });

  test("may be Buffers, as files are read", () => {
    const [endpoint] = readUrls("amqps://host", {
      ca: Buffer.from(ca),
      cert: Buffer.from(cert),
      key: Buffer.from(key),
    });
    expect(endpoint?.secureContext).toBeDefined();
  });

  test("without any URL that is encrypted are a fault", () => {
    const error = thrownBy(() => readUrls(["amqp://user:topsecret@one", "amqp://two"], { ca }));
    expect(error).toBeInstanceOf(ConnectionError);
    expect(error).toMatchObject({ code: "AMQP_KIT_CONNECTION", retryable: false });
    expect(String(error)).toContain("it begins with amqp://, which is not encrypted: write amqps://");
    expect(String(error)).not.toContain("topsecret");
  });

  test.for([
    ["ca is empty", { ca: "" }, "tls.ca (AMQP_CA_FILE) must be a certificate in PEM"],
    ["ca is no PEM", { ca: "ca.pem" }, "tls.ca (AMQP_CA_FILE) must be a certificate in PEM"],
    ["ca is a key", { ca: key }, "tls.ca (AMQP_CA_FILE) must be a certificate in PEM"],
    [
      "ca is cut short",
      { ca: "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----" },
      "tls.ca (AMQP_CA_FILE) must be a certificate in PEM",
    ],
    ["cert is alone", { cert }, "belong together"],
    ["key is alone", { key }, "belong together"],
    ["cert and key are swapped", { cert: key, key: cert }, "tls.cert (AMQP_CERT_FILE) must be a certificate in PEM"],
    ["key is no key", { cert, key: ca }, "tls.key (AMQP_KEY_FILE) must be a private key in PEM"],
    ["key is another's", { cert, key: other.keyPem }, "tls.key (AMQP_KEY_FILE) is not the key of tls.cert"],
  ] as const)("that cannot be used are refused with the fault and without themselves: %s", ([, tls, fault]) => {
    const error = thrownBy(() => readUrls("amqps://host", tls));
    expect(error).toBeInstanceOf(UsageError);
    expect(String(error)).toContain(fault);
    expect(String(error)).not.toMatch(bytes);
  });

  test("have no option that would switch their check off (pitfall 113)", async () => {
    const tls = { ca, rejectUnauthorized: false };
    const connecting = connect("amqps://127.0.0.1:1", { system, service: "till", tls });
    await expect(connecting).rejects.toThrow(
      "connect, tls: unknown option rejectUnauthorized. Known are ca, cert, key.",
    );
  });
});

describe("what waiting cannot fix", () => {
  test.for([
    "DEPTH_ZERO_SELF_SIGNED_CERT",
    "SELF_SIGNED_CERT_IN_CHAIN",
    "UNABLE_TO_VERIFY_LEAF_SIGNATURE",
    "UNABLE_TO_GET_ISSUER_CERT_LOCALLY",
  ])("is an authority that is not trusted: %s", (code) => {
    expect(tlsAdvice(coded(code), "amqps://host:5671")).toMatch(
      /amqps:\/\/host:5671 is signed by an authority that is not trusted here: .*AMQP_CA_FILE/,
    );
  });

  test.for([
    ["CERT_NOT_YET_VALID", "Compare the clocks"],
    ["INVALID_PURPOSE", "serverAuth"],
    ["ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION", "do not agree on TLS"],
    ["ERR_SSL_SSL/TLS_ALERT_CERTIFICATE_EXPIRED", "refuses the client certificate"],
  ] as const)("is %s", ([code, advice]) => {
    expect(tlsAdvice(coded(code), "amqps://host:5671")).toContain(advice);
  });

  test.for(["ECONNREFUSED", "ECONNRESET", "ETIMEDOUT", "ENOTFOUND"])("is not %s", (code) => {
    expect(tlsAdvice(coded(code), "amqps://host:5671")).toBeUndefined();
  });
});

function coded(code: string): Error {
  return Object.assign(new Error("as Node.js says it"), { code });
}

function thrownBy(call: () => unknown): unknown {
  try {
    return call();
  } catch (error) {
    return error;
  }
}
