import { passwords } from "./secrets.ts";
import { type Environment, secretsFolder } from "./settings.ts";

/** @returns the address and login of the management page */
export async function loginOf(environment: Environment): Promise<string> {
  const { broker } = await passwords(secretsFolder(environment));
  return `http://127.0.0.1:${environment["RABBITMQ_MANAGEMENT_PORT"] ?? 15_672}\nuser      admin\npassword  ${broker["admin"]}`;
}
