import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type OutputLine, startProcess } from "@amqp-idioms/local-servers";
import { describe, expect } from "vitest";
import type { DatabaseLocation } from "../../src/index.ts";
import { databases } from "./databases.ts";

const processes = fileURLToPath(new URL("processes/", import.meta.url));

function start(location: DatabaseLocation, killAt?: string) {
  return startProcess({
    command: process.execPath,
    args: [...(killAt === undefined ? [] : ["--import", join(processes, "kill-at.mjs")]), join(processes, "work.ts")],
    env: { LOCATION: JSON.stringify(location), KILL_AT: killAt },
  });
}

function sentIn(lines: readonly OutputLine[]): unknown[] {
  return lines.filter(({ json }) => json !== undefined && "sent" in json).map(({ json }) => json?.["sent"]);
}

describe.each(databases)("A kill -9 on %s", (_name, test) => {
  test.for(["inbox:committed", "outbox:committed", "outbox:sent"])(
    "at %s loses no message and no effect, and doubles no effect (pitfall 47)",
    async (killAt, { location, cleanup }) => {
      const killed = cleanup(await start(location, killAt));
      expect(await killed.exited).toMatchObject({ signal: "SIGKILL" });
      const again = cleanup(await start(location));
      expect(await again.exited).toMatchObject({ code: 0 });

      const inOrder = Array.from({ length: 10 }, (_, n) => n);
      expect(again.lines.at(-1)?.json?.["effects"]).toEqual(inOrder.map(String));
      const sent = [...sentIn(killed.lines), ...sentIn(again.lines)];
      expect([...new Set(sent)]).toEqual(inOrder);
      // Killed after "sent" and before the row is deleted, the relay sends this message twice; the receiver's inbox ignores the second
      if (killAt === "outbox:sent") expect(sent).toEqual([0, 1, 1, ...inOrder.slice(2)]);
    },
  );
});
