import { expect } from "vitest";
import { onEmbedded as test } from "./running.ts";

test("a folder that another registry has open is refused, with a line that says who has it", async ({
  stored,
  startRegistry,
}) => {
  const first = await startRegistry(stored);
  await expect(startRegistry(stored)).rejects.toThrow(`is open already, by process ${first.pid} `);
});
