import { typeOf } from "./contract-checks.ts";
import type { Contract, Notification, Roles, System } from "./contract.ts";
import { UsageError } from "./errors.ts";

/** The roles of one service of a system. */
export class ServiceRoles {
  readonly roles: Roles;
  readonly #system: System;
  readonly #service: string;

  /** @throws {UsageError} a service that the system does not name */
  constructor(system: System, service: string) {
    const roles = Object.hasOwn(system, service) ? system[service] : undefined;
    if (roles === undefined) {
      const services = Object.keys(system).join(", ");
      throw new UsageError(`The system has no service "${service}". Its services are ${services}.`);
    }
    this.roles = roles;
    this.#system = system;
    this.#service = service;
  }

  /** @throws {UsageError} a contract without this role, or a handler that is no function */
  check(role: keyof Roles, contract: Contract, handler: unknown): void {
    const contracts: readonly Contract[] = this.roles[role] ?? [];
    if (!contracts.includes(contract)) throw this.missing(role, contract);
    if (typeof handler !== "function") throw new UsageError(`The handler of "${contract.name}" must be a function.`);
  }

  missing(role: keyof Roles, contract: Contract | null | undefined): UsageError {
    if (contract === undefined || contract === null)
      return new UsageError(
        `Service "${this.#service}", role "${role}": the contract is ${typeOf(contract)}. Check that its module is not part of an import cycle.`,
      );
    return new UsageError(
      `Service "${this.#service}" does not list "${contract.name}" under its role "${role}". Add it in defineSystem.`,
    );
  }

  /** The services that subscribe to a notification. */
  subscribersOf(notification: Notification): string[] {
    return Object.keys(this.#system).filter((service) => this.#system[service]?.subscribes?.includes(notification));
  }
}
