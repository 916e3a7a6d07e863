import { createHash, X509Certificate } from "node:crypto";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { system } from "@amqp-idioms/contracts";
import { expect, onTestFinished, test } from "vitest";
import { loginOf } from "../../src/login.ts";
import { writeSecrets } from "../../src/write-secrets.ts";

function newFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "setup-test-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

const ofRepository = (file: string): string => readFileSync(new URL(`../../../../${file}`, import.meta.url), "utf8");
const textOf = (...path: string[]): string => readFileSync(join(...path), "utf8");

test("Each service gets the URLs of its own user, and nothing else", async () => {
  const SECRETS_DIR = newFolder();
  await writeSecrets({ SECRETS_DIR, BROKERS: "amqp://one,amqp://two:5673" });
  const [one, two] = textOf(SECRETS_DIR, "scheduling", "amqp-url").split(",");
  expect(one).toMatch(/^amqp:\/\/scheduling:[\w-]{24}@one$/);
  expect(two).toMatch(/^amqp:\/\/scheduling:[\w-]{24}@two:5673$/);
  expect(textOf(SECRETS_DIR, "scheduling", "database-url")).toMatch(
    /^postgres:\/\/scheduling:[\w-]{24}@postgres\/scheduling$/,
  );
  expect(readdirSync(join(SECRETS_DIR, "score-display"))).toEqual(["amqp-url"]);
  expect(readdirSync(SECRETS_DIR).toSorted()).toEqual(
    [...Object.keys(system), "operator", "postgres", "rabbitmq", "setup"].toSorted(),
  );
});

test("The broker's definitions contain every user with the hash of its password, and no guest", async () => {
  const SECRETS_DIR = newFolder();
  await writeSecrets({ SECRETS_DIR });
  const { users, permissions, vhosts, policies } = JSON.parse(textOf(SECRETS_DIR, "rabbitmq", "definitions.json"));
  const names = users.map(({ name }: { name: string }) => name).toSorted();
  expect(names).toEqual([...Object.keys(system), "admin", "operator"].toSorted());
  expect(permissions.map(({ user }: { user: string }) => user).toSorted()).toEqual(names);
  expect(vhosts).toMatchObject([{ name: "/" }]);
  expect(policies).toHaveLength(1);
  const { password } = new URL(textOf(SECRETS_DIR, "reporting", "amqp-url"));
  const { password_hash } = users.find(({ name }: { name: string }) => name === "reporting");
  const bytes = Buffer.from(password_hash, "base64");
  const hash = createHash("sha256").update(bytes.subarray(0, 4)).update(password).digest();
  expect(bytes.subarray(4)).toEqual(hash);
});

test("A second run changes no password, and adds what is missing", async () => {
  const SECRETS_DIR = newFolder();
  await writeSecrets({ SECRETS_DIR });
  const file = join(SECRETS_DIR, "scheduling", "amqp-url");
  const before = { url: textOf(file), login: await loginOf({ SECRETS_DIR }) };
  rmSync(join(SECRETS_DIR, "reporting"), { recursive: true });
  await writeSecrets({ SECRETS_DIR });
  expect({ url: textOf(file), login: await loginOf({ SECRETS_DIR }) }).toEqual(before);
  expect(textOf(SECRETS_DIR, "reporting", "amqp-url")).toContain("amqp://reporting:");
});

test("With amqps, setup writes the authority's certificate for every client and a certificate for the broker's names, and keeps them while they are valid", async () => {
  const SECRETS_DIR = newFolder();
  await writeSecrets({ SECRETS_DIR });
  expect(readdirSync(join(SECRETS_DIR, "scheduling"))).not.toContain("ca.pem");
  await writeSecrets({ SECRETS_DIR, BROKERS: "amqps://rabbitmq" });
  const authority = textOf(SECRETS_DIR, "scheduling", "ca.pem");
  const first = textOf(SECRETS_DIR, "rabbitmq", "certificate.pem");
  const certificate = new X509Certificate(first);
  expect(certificate.checkHost("rabbitmq")).toBe("rabbitmq");
  expect(certificate.checkHost("elsewhere")).toBeUndefined();
  expect(certificate.verify(new X509Certificate(authority).publicKey)).toBe(true);
  expect(readdirSync(join(SECRETS_DIR, "scheduling"))).not.toContain("ca-key.pem");
  await writeSecrets({ SECRETS_DIR, BROKERS: "amqps://rabbitmq" });
  expect(textOf(SECRETS_DIR, "rabbitmq", "certificate.pem")).toBe(first);
  await writeSecrets({ SECRETS_DIR, BROKERS: "amqps://rabbitmq,amqps://rabbitmq-2" });
  expect(new X509Certificate(textOf(SECRETS_DIR, "rabbitmq", "certificate.pem")).checkHost("rabbitmq-2")).toBe(
    "rabbitmq-2",
  );
  expect(textOf(SECRETS_DIR, "scheduling", "ca.pem")).toBe(authority);
});

test("docker-compose.yml has every service of the system, each with its own volume that setup fills", () => {
  const compose = ofRepository("docker-compose.yml");
  for (const name of Object.keys(system)) {
    expect(compose).toContain(`build: { context: ., args: { FOLDER: services/${name} } }`);
    expect(compose).toContain(`volumes: [secrets-${name}:/secrets:ro]`);
    expect(compose).toContain(`      - secrets-${name}:/secrets/${name}\n`);
  }
});

test("Images are built with the repository's pnpm and run on its Node.js", () => {
  const { packageManager } = JSON.parse(ofRepository("package.json"));
  const [, node] = /^ {2}node: (\d+)\./m.exec(ofRepository("pnpm-workspace.yaml")) ?? [];
  expect(ofRepository("Dockerfile")).toContain(` ${packageManager}\n`);
  expect(ofRepository("Dockerfile")).toContain(`FROM node:${node}-slim `);
});
