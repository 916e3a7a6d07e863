import { readFile } from "node:fs/promises";
import { execute } from "../processes/private-process.ts";

/** @returns why apt cannot be used here, or undefined when it can */
export async function whyNoApt(): Promise<string | undefined> {
  if (process.getuid?.() !== 0) return "apt cannot install it without root";
  const release = await readFile("/etc/os-release", "utf8").catch(() => "");
  return /^ID(_LIKE)?=.*\b(debian|ubuntu)\b/m.test(release)
    ? undefined
    : "this system is not Debian or Ubuntu, and has no apt";
}

/**
 * Installs RabbitMQ with apt. The system service is neither started nor enabled.
 * @returns the packages that were installed
 */
export async function installRabbitMq(log: (line: string) => void): Promise<string[]> {
  log("Installing RabbitMQ, which takes a minute or two: apt-get install --no-install-recommends rabbitmq-server");
  await inOwnSession("apt-get -q update");
  const install = "apt-get -q -y --no-install-recommends install rabbitmq-server";
  const plan = await inOwnSession(`${install} --simulate`);
  const packages = [...plan.matchAll(/^Inst (\S+)/gm)].map(([, name = ""]) => name);
  log(`apt-get installs ${packages.length} packages`);
  await inOwnSession(`${refuseServiceStarts}\n${install}`);
  await disable(packages);
  return packages;
}

/** Debian's packages ask policy-rc.d whether they may start a service; exit code 101 means no. An existing policy-rc.d is restored afterwards. */
const refuseServiceStarts = `
policy=/usr/sbin/policy-rc.d
[ ! -e $policy ] || mv $policy $policy.before
restore() { if [ -e $policy.before ]; then mv $policy.before $policy; else rm -f $policy; fi }
trap restore EXIT
printf '#!/bin/sh\\nexit 101\\n' >$policy
chmod +x $policy`;

/** Runs a script in its own session, so that it finishes even if this process ends: dpkg and policy-rc.d are never left half done. */
async function inOwnSession(script: string): Promise<string> {
  const { stdout } = await execute("setsid", ["--wait", "sh", "-e", "-c", script], {
    env: { ...process.env, DEBIAN_FRONTEND: "noninteractive", LC_ALL: "C" },
    maxBuffer: 64 * 1024 * 1024,
  });
  return stdout;
}

/** Disables the services again, which the packages enable: for systemd, even where it is missing, and for the older init scripts. */
async function disable(installed: string[]): Promise<void> {
  const units = installed.includes("erlang-base") ? ["epmd.service", "epmd.socket"] : [];
  // deb-systemd-helper works for packages only, and recognises them by this variable
  const script = `DPKG_MAINTSCRIPT_PACKAGE=rabbitmq-server deb-systemd-helper disable rabbitmq-server.service ${units.join(" ")}
    update-rc.d rabbitmq-server disable`;
  await inOwnSession(script);
}
