/** The error classes of another copy of the kit in this process: Node.js loads a module again for another query in its URL. */
import type * as errors from "../src/errors.ts";

export const otherCopy: typeof errors = await import(`${import.meta.resolve("../src/errors.ts")}?other-copy`);
