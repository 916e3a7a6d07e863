import type { Logger } from "./logger.ts";

export type Closeable = AsyncDisposable | Disposable | { close(): unknown };

/** What a service has opened and closes when it stops. */
export class Resources {
  #stack = new AsyncDisposableStack();
  readonly #open = new Set<{ readonly name: string }>();
  readonly #failed: string[] = [];
  readonly #logger: Logger;

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  /** Names of the resources that are still open. */
  get openNames(): readonly string[] {
    return [...this.#open].map(({ name }) => name);
  }

  /** Adds a resource. @returns the resource */
  use<T extends Closeable>(resource: T, name = resource.constructor.name): T {
    this.defer(name, closeOf(resource));
    return resource;
  }

  /** Adds a function that `close` calls. */
  defer(name: string, close: () => unknown): void {
    const resource = { name };
    this.#open.add(resource);
    this.#stack.defer(async () => {
      try {
        await close();
      } catch (error) {
        this.#logger.error({ err: error, name }, "failed to close");
        this.#failed.push(name);
      }
      this.#open.delete(resource);
    });
  }

  /**
   * Closes all resources, the newest first, one after the other. A failure is logged and does not stop the others.
   * Resources that are added meanwhile are closed afterwards.
   * @throws Error when a resource failed to close
   */
  async close(): Promise<void> {
    while (this.#open.size > 0) {
      const stack = this.#stack;
      // A stack accepts nothing once its disposal has begun
      this.#stack = new AsyncDisposableStack();
      await stack.disposeAsync();
    }
    if (this.#failed.length > 0) throw new Error(`Failed to close: ${this.#failed.join(", ")}.`);
  }
}

function closeOf(resource: Closeable): () => unknown {
  if (Symbol.asyncDispose in resource) return () => resource[Symbol.asyncDispose]();
  if (Symbol.dispose in resource) return () => resource[Symbol.dispose]();
  return () => resource.close();
}
