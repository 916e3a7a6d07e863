import type { Logger } from "./logger.ts";

export type Closeable = AsyncDisposable | Disposable | { close(): unknown };

interface Opened {
  readonly name: string;
  readonly close: () => unknown;
}

/** What is to be closed at the stop. */
export class Owned {
  readonly #open = new Set<Opened>();
  readonly #failed: string[] = [];
  readonly #logger: Logger;
  #closing: Promise<void> | undefined;

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  /** Of what is open still, the names. */
  get stillOpen(): readonly string[] {
    return [...this.#open].map(({ name }) => name);
  }

  /** What comes when the stop has begun is closed at once. */
  own<T extends Closeable>(opened: T, name = opened.constructor.name): T {
    this.add(name, closeOf(opened));
    return opened;
  }

  add(name: string, close: () => unknown): void {
    const opened = { name, close };
    this.#open.add(opened);
    if (this.#closing !== undefined) this.#closing = this.#closing.then(() => this.#close(opened));
  }

  /** The newest first, one after the other; one that fails is logged and holds up nobody. @throws Error when any failed */
  async close(): Promise<void> {
    this.#closing ??= this.#closeAll();
    // Closing one may bring another one here
    for (let seen; seen !== this.#closing;) await (seen = this.#closing);
    if (this.#failed.length > 0) throw new Error(`These did not close in good order: ${this.#failed.join(", ")}.`);
  }

  async #closeAll(): Promise<void> {
    for (const opened of [...this.#open].toReversed()) await this.#close(opened);
  }

  async #close(opened: Opened): Promise<void> {
    const { name, close } = opened;
    try {
      await close();
    } catch (error) {
      this.#logger.error({ err: error, name }, "did not close in good order");
      this.#failed.push(name);
    }
    this.#open.delete(opened);
  }
}

function closeOf(opened: Closeable): () => unknown {
  if (Symbol.asyncDispose in opened) return () => opened[Symbol.asyncDispose]();
  if (Symbol.dispose in opened) return () => opened[Symbol.dispose]();
  return () => opened.close();
}
