/** A real broker with TLS, once as most are, and once asking its clients for certificates. */
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { type AddressInfo, connect as connectTcp, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createServer } from "node:tls";
import { createAuthority, type Issued } from "@amqp-idioms/certificates";
import { createVirtualHost, type RabbitMq, type VirtualHost } from "@amqp-idioms/local-servers";
import { closeAll, needsPrivateBroker, privateBroker, test as base } from "@amqp-idioms/local-servers/vitest";
import { describe, expect, onTestFinished, vi } from "vitest";
import { connect, ConnectionError } from "../../src/index.ts";
import type { TlsOptions } from "../../src/index.ts";
import { prices, system } from "../contracts.ts";
import { amqpKit } from "../operator.ts";
import { recordingLogger } from "../recording.ts";
import { Shop } from "../shop.ts";
import { expectToRecover } from "../shop-recovery.ts";

const dayMs = 86_400_000;
const authority = await createAuthority({ name: "Test authority", days: 10 });
const stranger = await createAuthority({ name: "Stranger", days: 10 });
const ca = authority.certificatePem;
const here = ["127.0.0.1"];
const client = await authority.issue({ hostNames: [], commonName: "till", client: true });
const shown = { cert: client.certificatePem, key: client.keyPem };

async function tlsFor(hostName: string) {
  const { certificatePem, keyPem } = await authority.issue({ hostNames: [hostName] });
  return { ca, cert: certificatePem, key: keyPem };
}

const test = base
  .extend("tlsBroker", { scope: "file" }, async ({ broker }, { onCleanup }) => {
    const own = await privateBroker(broker, { tls: tlsFor });
    if (own !== undefined) onCleanup(() => closeAll([own]));
    return own;
  })
  .extend("askingBroker", { scope: "file" }, async ({ broker }, { onCleanup }) => {
    const own = await privateBroker(broker, {
      tls: async (hostName) => ({ ...(await tlsFor(hostName)), verifyPeer: true }),
    });
    if (own !== undefined) onCleanup(() => closeAll([own]));
    return own;
  })
  .extend("encrypted", async ({ tlsBroker, skip }) => {
    if (tlsBroker === undefined) return skip(needsPrivateBroker);
    return { broker: tlsBroker, vhost: await encryptedVirtualHost(tlsBroker) };
  })
  .extend("asking", async ({ askingBroker, skip }) => {
    if (askingBroker === undefined) return skip(needsPrivateBroker);
    return encryptedVirtualHost(askingBroker);
  });

function encryptedVirtualHost({ tlsUrl = "", managementUrl }: RabbitMq): Promise<VirtualHost> {
  return createVirtualHost({ url: tlsUrl, managementUrl });
}

function expired(): Promise<Issued> {
  const [notBefore, notAfter] = [new Date(Date.now() - 2 * dayMs), new Date(Date.now() - dayMs)];
  return authority.issue({ hostNames: here, notBefore, notAfter });
}

/** A broker reads its certificates when it starts: this is what stands in front of one, as a load balancer does, and is given others. */
async function frontOf({ url }: RabbitMq, { certificatePem, keyPem }: Issued) {
  const { hostname, port } = new URL(url);
  const open = new Set<Socket>();
  const front = createServer({ cert: certificatePem, key: keyPem }, (socket) => {
    const behind = connectTcp(Number(port), hostname);
    for (const one of [socket, behind]) open.add(one.on("error", () => {}));
    socket.pipe(behind).pipe(socket);
  }).listen(0, "127.0.0.1");
  await once(front, "listening");
  const cut = (): void => open.forEach((socket) => socket.destroy());
  onTestFinished(() => {
    front.close();
    cut();
  });
  return {
    at: (url: string): string => url.replace(/[^@]+:\d+(?=\/)/, `127.0.0.1:${(front.address() as AddressInfo).port}`),
    /** Shows this one from now on, also to those who are connected: they must come again. */
    show: ({ certificatePem, keyPem }: Issued): void => {
      front.setSecureContext({ cert: certificatePem, key: keyPem });
      cut();
    },
  };
}

async function refusal(url: string, tls?: TlsOptions): Promise<Error> {
  const error: unknown = await connect(url, { system, service: "till", tls }).then(
    () => new Error("it did not reject"),
    (error: unknown) => error,
  );
  expect(error).toBeInstanceOf(ConnectionError);
  expect(error).toMatchObject({ code: "AMQP_KIT_CONNECTION", retryable: false });
  expect(String(error)).not.toContain(new URL(url).password);
  return error instanceof Error ? error : new Error("no Error");
}

test("all six verbs work over an encrypted connection", async ({ encrypted: { vhost }, cleanup }) => {
  const shop = cleanup(await Shop.open(vhost.url, { tls: { ca } }));
  shop.work();
  await expect.poll(() => shop.isAtWork).toBe(true);
  await shop.rest();
  await expect.poll(() => shop.missing).toEqual([]);
  expect(shop.failures).toEqual([]);
  expect(await shop.close()).toEqual([]);
});

test(
  "every verb works again over TLS after a broker restart, and nothing confirmed is lost",
  { timeout: 180_000 },
  async ({ encrypted: { broker, vhost }, cleanup }) => {
    const shop = cleanup(await Shop.open(vhost.url, { tls: { ca } }));
    shop.work();
    await expect.poll(() => shop.isAtWork).toBe(true);
    await broker.restart();
    await expectToRecover(shop, vhost);
  },
);

describe("connect immediately refuses, with advice, a broker whose certificate", () => {
  test("was issued by an authority that is not trusted (pitfall 113)", async ({ encrypted: { vhost } }) => {
    for (const tls of [undefined, { ca: stranger.certificatePem }]) {
      const { message } = await refusal(vhost.url, tls);
      expect(message).toContain(`broker at amqps://${new URL(vhost.url).host}, `);
      expect(message).toContain(" is signed by an authority that is not trusted here: ");
      expect(message).toMatch(/Set tls\.ca \(AMQP_CA_FILE\) to the certificate of that authority\.$/);
    }
  });

  test("is for another host name (pitfall 113)", async ({ encrypted: { broker, vhost } }) => {
    const front = await frontOf(broker, await authority.issue({ hostNames: ["broker.example", "127.0.0.2"] }));
    for (const host of ["127.0.0.1", "localhost"]) {
      const { message } = await refusal(front.at(vhost.url).replace("127.0.0.1", host), { ca });
      expect(message).toMatch(new RegExp(`broker at amqps://${host}:\\d+, .* is not for this host name: .*${host}`));
      expect(message).toContain("Use a host name in the URL that the certificate contains");
    }
  });

  test("has expired (pitfall 113)", async ({ encrypted: { broker, vhost } }) => {
    const front = await frontOf(broker, await expired());
    const { message } = await refusal(front.at(vhost.url), { ca });
    expect(message).toMatch(
      /broker at amqps:\/\/127\.0\.0\.1:\d+.*, or its authority's, has expired\. Renew it there\./,
    );
  });

  test("is not trusted, even if NODE_TLS_REJECT_UNAUTHORIZED=0 is set (pitfall 113)", async ({
    encrypted: { broker, vhost },
  }) => {
    vi.stubEnv("NODE_TLS_REJECT_UNAUTHORIZED", "0");
    onTestFinished(() => void vi.unstubAllEnvs());
    expect((await refusal(vhost.url)).message).toContain("authority that is not trusted here");
    const front = await frontOf(broker, await authority.issue({ hostNames: ["broker.example"] }));
    expect((await refusal(front.at(vhost.url), { ca })).message).toContain("not for this host name");
  });
});

test("a certificate that expires while the service runs makes it not ready until it is renewed, and the log says why", async ({
  encrypted: { broker, vhost },
  cleanup,
}) => {
  const front = await frontOf(broker, await authority.issue({ hostNames: here }));
  const logger = recordingLogger();
  const board = cleanup(await connect(front.at(vhost.url), { system, service: "board", logger, tls: { ca } }));
  await board.listen(prices, () => {});
  expect(board.isReady).toBe(true);
  front.show(await expired());
  const said = (): string => JSON.stringify(logger.lines);
  await expect.poll(said).toMatch(/has expired\. Renew it there\./);
  expect(board.isReady).toBe(false);
  front.show(await authority.issue({ hostNames: here }));
  await expect.poll(() => board.isReady).toBe(true);
});

describe("a broker that asks for client certificates", () => {
  test("accepts one that its authority has signed", async ({ asking, cleanup }) => {
    const shop = cleanup(await Shop.open(asking.url, { tls: { ca, ...shown } }));
    shop.work();
    await expect.poll(() => shop.isAtWork).toBe(true);
    await shop.rest();
    expect(shop.failures).toEqual([]);
  });

  test("refuses a client without one, and the error says what to provide", async ({ asking }) => {
    const { message } = await refusal(asking.url, { ca });
    expect(message).toMatch(/asks for a client certificate\. Give one: .* AMQP_CERT_FILE and AMQP_KEY_FILE\./);
  });

  test("refuses one that another authority has signed", async ({ asking }) => {
    const { certificatePem, keyPem } = await stranger.issue({ hostNames: [], commonName: "till", client: true });
    const { message } = await refusal(asking.url, { ca, cert: certificatePem, key: keyPem });
    expect(message).toMatch(/refuses the client certificate: .*unknown ca\. Check tls\.cert/);
  });

  test("accepts amqp-kit dead, which reads the certificates from the files that are named", async ({
    asking,
    cleanup,
  }) => {
    const folder = await mkdtemp(join(tmpdir(), "amqp-kit-tls-"));
    cleanup(() => rm(folder, { recursive: true }));
    const contents = { ca, cert: shown.cert, key: shown.key };
    for (const [name, content] of Object.entries(contents)) await writeFile(join(folder, name), content);
    cleanup(await connect(asking.url, { system, service: "billing", tls: { ca, ...shown } }));
    const files = {
      AMQP_URL: asking.url,
      AMQP_CA_FILE: join(folder, "ca"),
      AMQP_CERT_FILE: join(folder, "cert"),
      AMQP_KEY_FILE: join(folder, "key"),
    };
    const listed = await amqpKit(files, "dead", "list", "order.placed.billing.dead");
    expect(listed).toMatchObject({ code: 0, out: expect.stringContaining("order.placed.billing.dead") });
    const without = await amqpKit({ AMQP_URL: asking.url, AMQP_CA_FILE: files.AMQP_CA_FILE }, "dead", "list");
    expect(without).toMatchObject({ code: 1, errors: expect.stringContaining("asks for a client certificate") });
    const absent = await amqpKit({ ...files, AMQP_CA_FILE: join(folder, "absent") }, "dead", "list");
    expect(absent).toMatchObject({
      code: 2,
      errors: expect.stringContaining("Cannot read the file that AMQP_CA_FILE names"),
    });
  });
});

test("a plaintext connection to a TLS port: the log suggests amqps://", async ({ encrypted: { vhost } }) => {
  const logger = recordingLogger();
  const stopped = new AbortController();
  const url = vhost.url.replace("amqps:", "amqp:");
  const connecting = connect(url, { system, service: "till", logger, signal: stopped.signal });
  connecting.catch(() => {});
  const said = (): string => JSON.stringify(logger.lines);
  await expect.poll(said).toContain("If that port expects TLS, the URL must begin with amqps://.");
  stopped.abort(new Error("seen"));
  await expect(connecting).rejects.toThrow("seen");
});
