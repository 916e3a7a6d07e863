import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createAuthority } from "@amqp-idioms/certificates";
import { afterAll, afterEach, describe, expect, test } from "vitest";
import {
  databaseSettings,
  readSettings,
  secretVariable,
  serviceSettings,
  timeZoneSetting,
} from "../../src/settings.ts";
import { z } from "zod";

const folder = mkdtempSync(join(tmpdir(), "settings-"));
afterEach(() => rmSync(join(folder, "secret"), { force: true }));
afterAll(() => rmSync(folder, { recursive: true }));

function file(content: string): string {
  return named("secret", content);
}

function named(name: string, content: string): string {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
}

function thrownBy(call: () => unknown): unknown {
  try {
    return call();
  } catch (error) {
    return error;
  }
}

/** Writes each content to a file. @returns the variables with the names of their files */
function files(contents: Record<string, string>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(contents).map(([variable, content]) => [variable, named(variable, content)]),
  );
}

function tls(env: Record<string, string>) {
  return readSettings(serviceSettings(0), env).tls;
}

function database(env: Record<string, string>) {
  return readSettings(databaseSettings("scheduling"), env).database;
}

describe("settings", () => {
  test("have defaults, and an empty variable counts as unset", () => {
    expect(readSettings(serviceSettings(3002), { PORT: "", HOST: "  " })).toEqual({
      amqpUrls: ["amqp://127.0.0.1:5672"],
      host: "127.0.0.1",
      port: 3002,
      logLevel: "info",
      stopTimeoutMs: 8_000,
    });
  });

  test("of several URLs are split at commas between URLs, not at a comma in a password", () => {
    const { amqpUrls } = readSettings(serviceSettings(0), { AMQP_URL: "amqp://a:b,c@one, amqps://two" });
    expect(amqpUrls).toEqual(["amqp://a:b,c@one", "amqps://two"]);
  });

  test.for([
    ["PORT", "65536"],
    ["PORT", "-1"],
    ["PORT", "80.5"],
    ["PORT", "0x10"],
    ["STOP_TIMEOUT_MS", "0"],
    ["LOG_LEVEL", "loud"],
    ["RATE_LIMIT_PER_MINUTE", "0"],
    ["RATE_LIMIT_PER_MINUTE", "many"],
    ["AMQP_URL", "amqp://one,http://two"],
    ["AMQP_URL", "amqp://one,"],
  ])("refuse %s=%s", ([name = "", value]) => {
    expect(() => readSettings(serviceSettings(0), { [name]: value })).toThrow(`${name} must be`);
  });

  test("of a time zone must be the name of a time zone", () => {
    expect(readSettings(timeZoneSetting, { TIME_ZONE: "Asia/Tokyo" })).toEqual({ timeZone: "Asia/Tokyo" });
    expect(() => readSettings(timeZoneSetting, { TIME_ZONE: "Tokyo Time" })).toThrow("like Europe/London");
  });

  test.each(["IST", "BST", "PST", "CST", "JST", "AST", "SST"])(
    "of a time zone refuse the abbreviation %s, which Intl accepts and Temporal does not",
    (name) => {
      expect(new Intl.DateTimeFormat("en", { timeZone: name }).format()).toBeTruthy();
      expect(() => readSettings(timeZoneSetting, { TIME_ZONE: name })).toThrow("like Europe/London");
    },
  );

  test("of a time zone accept every name of the time zone database", () => {
    for (const name of Intl.supportedValuesOf("timeZone")) {
      expect(readSettings(timeZoneSetting, { TIME_ZONE: name })).toEqual({ timeZone: name });
    }
  });

  test("of a database are its URL, else the service's folder in DATA_DIR, else a folder in the service", () => {
    const url = "postgres://u:p@host/db";
    expect(database({ DATABASE_URL: url, DATA_DIR: "/data" })).toEqual({ url });
    expect(database({ DATA_DIR: "/data" })).toEqual({ dataDir: "/data/scheduling" });
    expect(database({ DATA_DIR: "memory://" })).toEqual({ dataDir: "memory://" });
    expect(database({})).toEqual({ dataDir: expect.stringMatching(/\/\.data$/) });
  });
});

describe("certificates for the broker", () => {
  test("are the content of the files, as the option tls of connect", async () => {
    const authority = await createAuthority({ name: "Test authority", days: 1 });
    const client = await authority.issue({ hostNames: [], commonName: "scheduling", client: true });
    const [ca, cert, key] = [authority.certificatePem, client.certificatePem, client.keyPem].map((pem) => pem.trim());
    expect(tls(files({ AMQP_CA_FILE: ca ?? "" }))).toEqual({ ca });
    const all = { AMQP_CA_FILE: ca ?? "", AMQP_CERT_FILE: cert ?? "", AMQP_KEY_FILE: key ?? "" };
    expect(tls(files(all))).toEqual({ ca, cert, key });
    expect(tls({ AMQP_CA_FILE: "", AMQP_URL: "amqps://host" })).toBeUndefined();
  });

  test("are reported with all other faults and without their content when they cannot be used", () => {
    const wrong = files({
      AMQP_CA_FILE: "topsecret",
      AMQP_KEY_FILE: "-----BEGIN ENCRYPTED PRIVATE KEY-----\ntopsecret",
    });
    const error = thrownBy(() => tls({ ...wrong, AMQP_CERT_FILE: "/nowhere", PORT: "x" }));
    expect(error).toMatchObject({
      faults: [
        expect.stringMatching(/^AMQP_CA_FILE must name a PEM file with a certificate, but .* has none$/),
        "AMQP_CERT_FILE must name a readable file, but /nowhere cannot be read (ENOENT)",
        expect.stringMatching(
          /^AMQP_KEY_FILE must name a PEM file with a private key without a passphrase, but .* has none$/,
        ),
        expect.stringContaining("PORT must be"),
      ],
    });
    expect(String(error)).not.toContain("topsecret");
  });

  test("need their key, and a key needs its certificate", () => {
    const alone = "AMQP_CERT_FILE and AMQP_KEY_FILE belong together: set both or neither";
    expect(() => tls(files({ AMQP_CERT_FILE: "-----BEGIN CERTIFICATE-----" }))).toThrow(alone);
    expect(() => tls(files({ AMQP_KEY_FILE: "-----BEGIN PRIVATE KEY-----" }))).toThrow(alone);
  });
});

describe("a secret", () => {
  const declared = { secret: secretVariable("SECRET", z.string({ error: "must be set" })) };

  test("may be in a file, whose final newline is ignored", () => {
    expect(readSettings(declared, { SECRET_FILE: file("from the file\n") })).toEqual({ secret: "from the file" });
  });

  test("is refused when variable and file are both set, when the file is empty, and when it cannot be read", () => {
    const both = { SECRET: "hidden", SECRET_FILE: file("hidden") };
    expect(() => readSettings(declared, both)).toThrow("SECRET and SECRET_FILE are both set: unset one of them");
    expect(() => readSettings(declared, { SECRET_FILE: file("\n") })).toThrow("SECRET_FILE names an empty file");
    expect(() => readSettings(declared, { SECRET_FILE: "/nowhere" })).toThrow("/nowhere cannot be read (ENOENT)");
    expect(() => readSettings(declared, {})).toThrow("SECRET must be set");
  });
});
