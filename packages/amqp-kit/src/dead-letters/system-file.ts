import { existsSync, readFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import type { Roles, System } from "../contract.ts";
import { UsageError } from "../errors.ts";
import { messageOf } from "../telemetry/log.ts";

/** Finds and loads the system: a module that exports the result of `defineSystem`. */

const roles: Record<keyof Roles, true> = {
  broadcasts: true,
  listens: true,
  notifies: true,
  subscribes: true,
  requests: true,
  responds: true,
};

/** @returns the file that the nearest package.json names, from `folder` upwards: `"amqp-kit": { "system": "src/system.ts" }` */
export function findSystemFile(folder: string): string | undefined {
  const file = join(folder, "package.json");
  const manifest: unknown = existsSync(file) ? JSON.parse(readFileSync(file, "utf8")) : undefined;
  const named = isObject(manifest) && isObject(manifest["amqp-kit"]) ? manifest["amqp-kit"]["system"] : undefined;
  if (typeof named === "string") return resolve(folder, named);
  return dirname(folder) === folder ? undefined : findSystemFile(dirname(folder));
}

/**
 * Imports the module: JavaScript, or TypeScript whose types Node.js strips (22.18 or newer, outside of node_modules, no enums).
 * @returns its systems, whatever the names of the exports
 * @throws {UsageError}
 */
export async function loadSystems(file: string): Promise<System[]> {
  if (!existsSync(file)) throw new UsageError(`The system module ${file} does not exist.`);
  let module: object;
  try {
    module = await import(pathToFileURL(file).href);
  } catch (error) {
    throw new UsageError(`Cannot import the system module ${file}: ${messageOf(error)}`);
  }
  const systems = Object.values<unknown>({ ...module }).filter(isSystem);
  if (systems.length === 0) throw new UsageError(`${file} exports no system. Export the result of defineSystem.`);
  return systems;
}

/** A system is plain data, and may come from another copy of the kit. So its shape decides. */
function isSystem(value: unknown): value is System {
  if (!isObject(value) || Object.keys(value).length === 0) return false;
  return Object.values(value).every(
    (service) =>
      isObject(service) &&
      Object.entries(service).every(([role, contracts]) => Object.hasOwn(roles, role) && Array.isArray(contracts)),
  );
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
