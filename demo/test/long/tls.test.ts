/** The whole system over TLS, with a broker that requires client certificates. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { createAuthority } from "@amqp-idioms/certificates";
import { system } from "@amqp-idioms/contracts";
import { type ServiceProcess, startProcess } from "@amqp-idioms/local-servers";
import { needsPrivateBroker, privateBroker, test } from "@amqp-idioms/local-servers/vitest";
import { expect } from "vitest";

type Service = keyof typeof system;

test(
  "Every service connects with the certificates that its environment names, and its error says what is wrong with them",
  {
    timeout: 120_000,
  },
  async ({ broker, database, cleanup, skip }) => {
    const authority = await createAuthority({ name: "Test authority", days: 1 });
    const ca = authority.certificatePem;
    const tls = async (hostName: string) => {
      const { certificatePem, keyPem } = await authority.issue({ hostNames: [hostName] });
      return { ca, cert: certificatePem, key: keyPem, verifyPeer: true };
    };
    const tlsBroker = (await privateBroker(broker, { tls })) ?? skip(needsPrivateBroker);
    cleanup(tlsBroker);

    const folder = await mkdtemp(join(tmpdir(), "tls-"));
    cleanup(() => rm(folder, { recursive: true }));
    const file = async (name: string, content: string): Promise<string> => {
      await writeFile(join(folder, name), content);
      return join(folder, name);
    };
    const start = async (service: Service, env: Record<string, string> = {}): Promise<ServiceProcess> => {
      const client = await authority.issue({ hostNames: [], commonName: service, client: true });
      const files = {
        AMQP_CA_FILE: await file("ca.pem", ca),
        AMQP_CERT_FILE: await file(`${service}.pem`, client.certificatePem),
        AMQP_KEY_FILE: await file(`${service}.key`, client.keyPem),
      };
      const main = fileURLToPath(new URL(`../../../services/${service}/src/main.ts`, import.meta.url));
      const common = { AMQP_URL: tlsBroker.tlsUrl, DATABASE_URL: database.url, PORT: "0" };
      return cleanup(await startProcess({ name: service, main, env: { ...common, ...files, ...env } }));
    };

    await start("patient-registry");
    const [api, scheduling, reporting, display] = await Promise.all([
      start("add-patient-api"),
      start("scheduling"),
      start("reporting"),
      start("score-display"),
    ]);
    await start("score-producer");
    const added = await fetch(`${api.url}/patients`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ given: "Ann", surname: "Lee" }),
    });
    expect(added.status).toBe(201);
    await expect.poll(() => listed(`${scheduling.url}/appointments`)).toHaveLength(1);
    await expect
      .poll(() => listed(`${reporting.url}/reports/registrations`))
      .toMatchObject({
        ageBands: expect.arrayContaining([{ band: "unknown", count: 1 }]),
      });
    await expect.poll(() => listed(`${display.url}/scores`)).not.toEqual([]);

    const stranger = await createAuthority({ name: "Stranger", days: 1 });
    const wrong = { AMQP_CA_FILE: await file("stranger.pem", stranger.certificatePem) };
    await expect(start("score-display", wrong)).rejects.toThrow(
      /ended \(1\) before it was ready[^]*signed by an authority that is not trusted here/,
    );
    const plain = { AMQP_URL: tlsBroker.url };
    await expect(start("score-display", plain)).rejects.toThrow(/begins with amqp:\/\/, which is not encrypted/);
  },
);

async function listed(url: string): Promise<unknown> {
  return (await fetch(url)).json();
}
