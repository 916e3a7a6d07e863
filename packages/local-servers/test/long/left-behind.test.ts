import { globSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, realpathSync, rmSync } from "node:fs";
import { chmod } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { getContainerRuntimeClient } from "testcontainers";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import { startPostgres, startProcess, startRabbitMq } from "../../src/index.ts";
import { findPostgres } from "../../src/postgres/machine.ts";
import { findRabbitMq } from "../../src/rabbitmq/machine.ts";
import { whyNoContainers } from "../../src/processes/container.ts";

const hold = fileURLToPath(new URL("processes/hold.ts", import.meta.url));

/** Processes that work in a folder or below: each server of ours does, its helpers included. Zombies work nowhere. */
function processesIn(folder: string): string[] {
  return globSync("/proc/[0-9]*/cwd").filter((link) => {
    try {
      return readlinkSync(link).startsWith(folder);
    } catch {
      return false;
    }
  });
}

/** Where servers make their folders: nobody else's are in it. */
async function folderOfOwn(): Promise<string> {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), "left-behind-")));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  // Servers run under other users
  await chmod(folder, 0o755);
  return folder;
}

async function containersOf(pid: number): Promise<string[]> {
  if ((await whyNoContainers()) !== undefined) return [];
  const { container } = await getContainerRuntimeClient();
  const filters = { label: [`local-servers.started-by=${pid}`] };
  return (await container.dockerode.listContainers({ all: true, filters })).map(({ Id }) => Id);
}

const cases = [
  { what: "rabbitmq", source: "machine", isHere: async () => findRabbitMq() !== undefined },
  { what: "postgres", source: "machine", isHere: async () => findPostgres() !== undefined },
  { what: "rabbitmq", source: "container", isHere: async () => (await whyNoContainers()) === undefined },
  { what: "postgres", source: "container", isHere: async () => (await whyNoContainers()) === undefined },
  { what: "process", source: "machine", isHere: async () => true },
] as const;

describe("Nothing is left behind", () => {
  test.for(cases)(
    "when the process that started $what ($source) is killed with -9",
    async ({ what, source, isHere }, { skip }) => {
      if (!(await isHere())) skip(`needs ${what} from ${source}`);
      const folder = await folderOfOwn();
      const holder = await startProcess({
        main: hold,
        args: [what, source],
        env: { TMPDIR: folder },
        readyTimeoutMs: 50_000,
      });
      const traces = async (): Promise<unknown[]> => [
        ...processesIn(folder),
        ...readdirSync(folder),
        ...(await containersOf(holder.pid)),
      ];
      expect(await traces()).not.toEqual([]);
      await holder.kill();
      await expect.poll(traces).toEqual([]);
    },
  );

  test("after close: no process, no folder and no watchdog", async ({ skip }) => {
    if (findRabbitMq() === undefined || findPostgres() === undefined)
      skip("needs RabbitMQ and PostgreSQL on this machine");
    const before = new Set(childrenOf(process.pid));
    const ourChildren = (): string[] => childrenOf(process.pid).filter((pid) => !before.has(pid));
    const folder = await folderOfOwn();
    vi.stubEnv("TMPDIR", folder);
    onTestFinished(() => void vi.unstubAllEnvs());
    {
      await using broker = await startRabbitMq({ from: ["machine"], env: {} });
      await using database = (await startPostgres({ from: ["machine"], env: {} })).server ?? skip("gone meanwhile");
      expect([broker.source, database.source]).toEqual(["machine", "machine"]);
      expect(ourChildren().length).toBeGreaterThan(2);
      expect(readdirSync(folder).length).toBeGreaterThan(1);
    }
    await expect.poll(ourChildren).toEqual([]);
    expect(readdirSync(folder)).toEqual([]);
  });
});

function childrenOf(pid: number): string[] {
  return globSync(`/proc/${pid}/task/*/children`).flatMap((file) =>
    readFileSync(file, "utf8").split(" ").filter(Boolean),
  );
}
