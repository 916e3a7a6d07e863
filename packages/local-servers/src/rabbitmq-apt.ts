import { chmod, readFile, rm, stat, writeFile } from "node:fs/promises";
import { execute } from "./private-process.ts";

const policy = "/usr/sbin/policy-rc.d";

/** @returns why apt cannot be used here, or undefined when it can */
export async function whyNoApt(): Promise<string | undefined> {
  if (process.getuid?.() !== 0) return "not root, so that apt cannot install it";
  const release = await readFile("/etc/os-release", "utf8").catch(() => "");
  return /^ID(_LIKE)?=.*\b(debian|ubuntu)\b/m.test(release)
    ? undefined
    : "not Debian or Ubuntu, so that there is no apt";
}

/**
 * Installs RabbitMQ with apt. The system service is neither started nor enabled.
 * @returns the packages that came onto the machine
 */
export async function installRabbitMq(log: (line: string) => void): Promise<string[]> {
  log("Installing RabbitMQ: apt-get install --no-install-recommends rabbitmq-server (takes a minute or two)");
  const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
  const apt = (...args: string[]): Promise<{ stdout: string }> =>
    execute("apt-get", ["-q", ...args], { env, maxBuffer: 64 * 1024 * 1024, timeout: 15 * 60_000 });
  await apt("update");
  const install = ["install", "-y", "--no-install-recommends", "rabbitmq-server"];
  const { stdout: plan } = await apt("--simulate", ...install);
  const packages = [...plan.matchAll(/^Inst (\S+)/gm)].map(([, name = ""]) => name);
  log(`apt-get installs ${packages.length} packages`);
  await withoutStartingServices(() => apt(...install));
  await disableService("rabbitmq-server");
  if (packages.includes("erlang-base")) await disableService("epmd");
  return packages;
}

/** `policy-rc.d` is what Debian's maintainer scripts ask whether they may start a service; 101 says no. */
async function withoutStartingServices(install: () => Promise<unknown>): Promise<void> {
  const before = await readFile(policy, "utf8").catch(() => undefined);
  const mode = before === undefined ? undefined : (await stat(policy)).mode;
  await writeFile(policy, "#!/bin/sh\nexit 101\n");
  await chmod(policy, 0o755);
  try {
    await install();
  } finally {
    if (before === undefined || mode === undefined) await rm(policy, { force: true });
    else {
      await writeFile(policy, before);
      await chmod(policy, mode & 0o7777);
    }
  }
}

/** The package enables what it installs, for systemd and for the older init alike. */
async function disableService(name: string): Promise<void> {
  const commands = [
    ["deb-systemd-helper", "disable", `${name}.service`],
    ["deb-systemd-helper", "disable", `${name}.socket`],
    ["update-rc.d", name, "disable"],
  ] as const;
  for (const [command, ...args] of commands) {
    // None of the three exists everywhere, nor does each unit
    await execute(command, args).catch(() => {});
  }
}
