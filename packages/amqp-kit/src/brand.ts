/** Recognises the kit's error classes: a process may load two copies of the kit, and a bundler renames classes. */

type ErrorClass = abstract new (...parameters: never[]) => Error;

/**
 * Names a class as its key says, and lets `instanceof` recognise the errors of other copies of the kit by `Symbol.for`. A class that
 * extends one of these keeps the usual `instanceof`.
 */
export function brand(classes: { readonly [name: string]: ErrorClass }): void {
  for (const [name, errorClass] of Object.entries(classes)) {
    const mark = Symbol.for(`amqp-kit:${name}`);
    Object.defineProperty(errorClass.prototype, mark, { value: true });
    Object.defineProperty(errorClass, "name", { value: name, configurable: true });
    Object.defineProperty(errorClass, Symbol.hasInstance, {
      value(this: unknown, value: unknown): boolean {
        if (this !== errorClass) return Function.prototype[Symbol.hasInstance].call(this, value);
        return typeof value === "object" && value !== null && mark in value;
      },
    });
  }
}
