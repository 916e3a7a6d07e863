import { randomBytes } from "node:crypto";
import { mkdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { system } from "@amqp-idioms/contracts";

/** A folder for each container, a volume of its own, which nobody else mounts; that of `setup` holds all passwords. */

export type Service = keyof typeof system;

export const services = Object.keys(system) as Service[];
/** Those that keep something */
export const withDatabase: readonly Service[] = ["patient-registry", "scheduling", "reporting"];
/** The container's name in docker-compose.yml */
export const databaseHost = "postgres";
/** `admin` is the management page's, `operator` that of `amqp-kit dead`. */
export const brokerUsers = [...services, "operator", "admin"] as const;

export interface Passwords {
  readonly broker: Readonly<Record<string, string>>;
  readonly database: Readonly<Record<string, string>>;
  readonly erlangCookie: string;
}

/** @returns those that there are, and new ones for who has none */
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

/** 144 bits, in letters that need no escape in a URL. */
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

/** Whole or not at all: a server may be reading it. Whoever mounts the volume may read it, under whatever user. */
export async function put(file: string, text: string, mode = 0o444): Promise<void> {
  await mkdir(join(file, ".."), { recursive: true });
  // What a killed one has left is read-only, also to root without capabilities
  await rm(`${file}.new`, { force: true });
  await writeFile(`${file}.new`, text, { mode });
  await rename(`${file}.new`, file);
}
