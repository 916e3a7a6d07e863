import { randomBytes } from "node:crypto";
import { mkdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { system } from "@amqp-idioms/contracts";

/** Each container has a folder: a volume that no other container mounts. The folder of `setup` holds all passwords. */

export type Service = keyof typeof system;

export const services = Object.keys(system) as Service[];
/** The services that store data */
export const withDatabase: readonly Service[] = ["patient-registry", "scheduling", "reporting"];
/** The service's name in docker-compose.yml */
export const databaseHost = "postgres";
/** `admin` is for the management page, `operator` for `amqp-kit dead`. */
export const brokerUsers = [...services, "operator", "admin"] as const;

export interface Passwords {
  readonly broker: Readonly<Record<string, string>>;
  readonly database: Readonly<Record<string, string>>;
  readonly erlangCookie: string;
}

/** @returns the existing passwords, and new ones for users that have none */
export async function passwords(folder: string): Promise<Passwords> {
  const file = join(folder, "setup", "passwords.json");
  const known = JSON.parse((await textOf(file)) ?? "{}") as Partial<Passwords>;
  const all = {
    broker: withMissing(known.broker, brokerUsers),
    database: withMissing(known.database, [...withDatabase, "postgres"]),
    erlangCookie: known.erlangCookie ?? newPassword(),
  };
  await put(file, JSON.stringify(all, undefined, 2), 0o600);
  return all;
}

function withMissing(known: Readonly<Record<string, string>> = {}, users: readonly string[]): Record<string, string> {
  return { ...Object.fromEntries(users.map((user) => [user, newPassword()])), ...known };
}

/** 144 bits, in characters that need no escaping in a URL. */
function newPassword(): string {
  return randomBytes(18).toString("base64url");
}

export async function textOf(file: string): Promise<string | undefined> {
  try {
    return await readFile(file, "utf8");
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return undefined;
    throw error;
  }
}

/** Writes a file atomically, because a server may be reading it. Any user of a container that mounts the volume may read it. */
export async function put(file: string, text: string, mode = 0o444): Promise<void> {
  await mkdir(join(file, ".."), { recursive: true });
  // The file that a killed process has left is read-only, even for root without capabilities
  await rm(`${file}.new`, { force: true });
  await writeFile(`${file}.new`, text, { mode });
  await rename(`${file}.new`, file);
}
