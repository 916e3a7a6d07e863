import { open, rm, statfs } from "node:fs/promises";
import { join } from "node:path";
import { type Account, execute } from "../processes/private-process.ts";
import { guard } from "../processes/watchdog.ts";

/** A small disk of one server, which can be filled. */
export interface SmallDisk {
  /** Fills it to the last block. */
  fill(): Promise<void>;
  free(): Promise<void>;
}

/** True for root on Linux: a small disk is a mounted tmpfs. */
export function canMountDisks(): boolean {
  return process.platform === "linux" && process.getuid?.() === 0;
}

/** @param folder  an existing folder, whose content the disk hides */
export async function mountSmallDisk(
  folder: string,
  bytes: number,
  account: Account,
): Promise<SmallDisk & { unmount: () => Promise<void> }> {
  const owner = account === undefined ? "" : `,uid=${account.uid},gid=${account.gid}`;
  await execute("mount", ["-t", "tmpfs", "-o", `size=${bytes},mode=0700${owner}`, "tmpfs", folder]);
  const release = guard({ mount: folder });
  const ballast = join(folder, "ballast");
  return {
    async fill() {
      const file = await open(ballast, "w");
      try {
        const { bavail, bsize } = await statfs(folder);
        const chunk = Buffer.alloc(bsize * 16);
        for (let left = bavail * bsize; left > 0; left -= chunk.length) await file.write(chunk);
      } catch (error) {
        // Another process took the last blocks: the disk is full all the same
        if (!(error instanceof Error && "code" in error && error.code === "ENOSPC")) throw error;
      } finally {
        await file.close();
      }
    },
    async free() {
      await rm(ballast, { force: true });
    },
    async unmount() {
      await execute("umount", ["--lazy", folder]);
      release();
    },
  };
}
