import { AmqpKitError } from "./errors.ts";

/**
 * Runs work, and gives its errors the stack of the caller: an error is created when a timer or the broker ends the call, where the stack
 * shows only the kit.
 * @param verb  the function that was called. The stack begins with its caller
 */
export async function withCallerStack<T>(
  verb: (...parameters: never[]) => unknown,
  work: () => Promise<T>,
): Promise<T> {
  const caller: { stack?: string } = {};
  Error.captureStackTrace(caller, verb);
  try {
    return await work();
  } catch (error) {
    if (error instanceof AmqpKitError) {
      const [, ...frames] = (caller.stack ?? "").split("\n");
      error.stack = [`${error.name}: ${error.message}`, ...frames].join("\n");
    }
    throw error;
  }
}
