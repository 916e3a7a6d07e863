import { readFile } from "node:fs/promises";
import { execute } from "../processes/private-process.ts";

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
  log("Installing RabbitMQ, for a minute or two: apt-get install --no-install-recommends rabbitmq-server");
  await inOwnSession("apt-get -q update");
  const install = "apt-get -q -y --no-install-recommends install rabbitmq-server";
  const plan = await inOwnSession(`${install} --simulate`);
  const packages = [...plan.matchAll(/^Inst (\S+)/gm)].map(([, name = ""]) => name);
  log(`apt-get installs ${packages.length} packages`);
  await inOwnSession(`${refuseServiceStarts}\n${install}`);
  await disable(packages);
  return packages;
}

/** Debian's packages ask policy-rc.d whether they may start a service, and 101 says no. What was there before is put back. */
const refuseServiceStarts = `
policy=/usr/sbin/policy-rc.d
[ ! -e $policy ] || mv $policy $policy.before
restore() { if [ -e $policy.before ]; then mv $policy.before $policy; else rm -f $policy; fi }
trap restore EXIT
printf '#!/bin/sh\\nexit 101\\n' >$policy
chmod +x $policy`;

/** In a session of its own it comes to its end, whatever becomes of us: neither dpkg nor policy-rc.d is left half done. */
async function inOwnSession(script: string): Promise<string> {
  const { stdout } = await execute("setsid", ["--wait", "sh", "-e", "-c", script], {
    env: { ...process.env, DEBIAN_FRONTEND: "noninteractive", LC_ALL: "C" },
    maxBuffer: 64 * 1024 * 1024,
  });
  return stdout;
}

/** The packages enable what they install: for systemd, whether it is here or not, and for the older init scripts. */
async function disable(installed: string[]): Promise<void> {
  const units = installed.includes("erlang-base") ? ["epmd.service", "epmd.socket"] : [];
  // deb-systemd-helper works for packages only, and asks by this whether it does
  const script = `DPKG_MAINTSCRIPT_PACKAGE=rabbitmq-server deb-systemd-helper disable rabbitmq-server.service ${units.join(" ")}
    update-rc.d rabbitmq-server disable`;
  await inOwnSession(script);
}
