import { globSync, readFileSync } from "node:fs";
import { basename } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { faultsNamed } from "../../src/faults/index.ts";
import { mutantNamed } from "../../src/mutant.ts";

const names = globSync(fileURLToPath(new URL("../../mutants/*.ts", import.meta.url))).map((file) =>
  basename(file, ".ts"),
);

test.for(names)(
  "Each text that the mutant %s replaces occurs exactly once, and the faults that it names exist",
  async (name) => {
    const mutant = await mutantNamed(name);
    for (const patch of mutant.patches) {
      const source = readFileSync(fileURLToPath(patch.url), "utf8");
      expect(patch.applyTo(source)).not.toBe(source);
    }
    expect(faultsNamed(mutant.faults.join())).toHaveLength(mutant.faults.length);
  },
);

test("A mutant fails loudly when the text that it replaces is missing", async () => {
  const { patches } = await mutantNamed("no-outbox");
  expect(() => patches[0]?.applyTo("something else")).toThrow("occurs there 0 times, not once");
  await expect(mutantNamed("../src/run")).rejects.toThrow("is not the name of a mutant");
});
