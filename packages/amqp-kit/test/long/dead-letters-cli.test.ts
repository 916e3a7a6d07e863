import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { amqpMethods, freePorts, privateFolder, startProxy } from "@amqp-idioms/local-servers";
import { type Cleanup, test } from "@amqp-idioms/local-servers/vitest";
import { describe, expect } from "vitest";
import { operatorPermissions } from "../../src/derive/permissions.ts";
import { system } from "../contracts.ts";
import { amqpKit, cli, systemFile } from "../operator.ts";
import { bareDeadLetters } from "../peers/bare-dead-letters.ts";
import { queue, dead, hoursAgo, json, leaveDead } from "../dead-letters-command.ts";

/** Three that were set aside at known times, for known reasons. */
async function leaveThree(url: string, cleanup: Cleanup): Promise<Awaited<ReturnType<typeof bareDeadLetters>>> {
  const bare = cleanup(await bareDeadLetters(url, queue));
  await bare.setAside([
    {
      body: "1",
      messageId: "one",
      headers: { "amqp-kit-reason": "handler_failed", "amqp-kit-last-failed-at": hoursAgo(30) },
    },
    {
      body: "2",
      messageId: "two",
      headers: { "amqp-kit-reason": "invalid_message", "amqp-kit-last-failed-at": hoursAgo(3) },
    },
    { body: "3", messageId: "three" },
  ]);
  return bare;
}

/** On a terminal, which "script" gives its command. */
function onTerminal(url: string, args: string, cleanup: Cleanup) {
  const command = `'${process.execPath}' '${cli}' dead ${args} --system '${systemFile}'`;
  const options = ["--quiet", "--flush", "--return", "--command", command, "/dev/null"];
  const env = { PATH: process.env["PATH"], AMQP_URL: url, TERM: "xterm" };
  const script = spawn("script", options, { env, stdio: ["pipe", "pipe", "ignore"] });
  cleanup(() => script.kill("SIGKILL"));
  const ended = once(script, "close");
  let screen = "";
  script.stdout.setEncoding("utf8").on("data", (text: string) => (screen += text));
  return {
    isAsked: (question: string) => expect.poll(() => screen).toContain(question),
    type: (text: string) => script.stdin.write(text),
    /** Exit code and all that the screen has shown, once it has ended */
    async end() {
      await expect.poll(() => script.exitCode).not.toBeNull();
      await ended;
      return { code: script.exitCode, screen };
    },
  };
}

const isWithoutScript = (): boolean => spawnSync("script", ["--version"]).status !== 0;
const needsScript = "needs script, of util-linux: apt-get install bsdutils";

describe("amqp-kit dead", () => {
  test("show prints a message in full, as text or base64, without control characters", async ({ vhost, cleanup }) => {
    await leaveDead(vhost, cleanup);
    const order = await amqpKit(vhost.url, "dead", "show", "--id", "order-2");
    expect(order.code).toBe(0);
    expect(order.out).toContain(`${dead}: message order-2\n`);
    expect(order.out).toContain("\n  appId: till\n");
    expect(order.out).toContain("\n  header amqp-kit-reason: handler_failed\n");
    expect(order.out).toContain(`:\n    {"orderId":"2","article":"secret lamp","pieces":1}\n`);
    const [unread] = json((await amqpKit(vhost.url, "dead", "show", "--json", "--reason", "invalid_message")).out);
    expect(unread).toMatchObject({ queue: dead, body: "/wA=", bodyEncoding: "base64" });

    const shipping = cleanup(await bareDeadLetters(vhost.url, "order.placed.shipping"));
    await shipping.setAside([{ body: "a\u001b[2Jb\nc", headers: { "x\u009b": "\u202ed" } }]);
    const shown = await amqpKit(vhost.url, "dead", "show", "order.placed.shipping.dead");
    expect(shown.out).toContain("message without an id");
    expect(shown.out).toContain("    a\\u001b[2Jb\n    c\n");
    expect(shown.out).toContain("header x\\u009b: \\u202ed");
  });

  test("requeue sends back a selection by id, reason, age or number", async ({ vhost, cleanup }) => {
    const bare = await leaveThree(vhost.url, cleanup);
    const sentBack = async (...args: string[]): Promise<string[]> => {
      expect(await amqpKit(vhost.url, "dead", "requeue", "--json", ...args)).toMatchObject({ code: 0 });
      const messages = await bare.drain(queue);
      const bodies = messages.map(({ content }) => String(content));
      await bare.setAside(messages.map(({ content, properties }) => ({ body: content, ...properties })));
      return bodies;
    };
    expect(await sentBack("--id", "three", "--id", "one")).toEqual(["1", "3"]);
    // Sent back, they have lost what the kit's headers said
    await bare.drain(dead);
    await leaveThree(vhost.url, cleanup);
    expect(await sentBack("--older-than", "1d")).toEqual(["1"]);
    expect(await sentBack("--newer-than", "6h")).toEqual(["2"]);
    expect(await sentBack("--reason", "handler_failed")).toEqual([]);
    expect(await sentBack("--limit", "2", dead)).toEqual(["3", "1"]);
    const missing = await amqpKit(vhost.url, "dead", "requeue", "--id", "four");
    expect(missing).toMatchObject({ code: 1, out: `${dead}: 0 of 3 messages requeued to ${queue}\n` });
    expect(missing.errors).toContain("No message found with the id four.\n");
  });

  test("discard saves messages before it deletes them", async ({ vhost, cleanup }) => {
    const bare = await leaveThree(vhost.url, cleanup);
    const folder = await privateFolder("saved", undefined);
    cleanup(() => folder.remove());
    const file = join(folder.path, "dead.jsonl");
    const discard = (...args: string[]) => amqpKit(vhost.url, "dead", "discard", "--save", file, ...args);
    expect(await discard("--id", "four", "--yes")).toMatchObject({ code: 1 });
    expect(existsSync(file)).toBe(false);
    const done = await discard("--reason", "handler_failed", "--yes");
    expect(done).toMatchObject({ code: 0, out: `${dead}: 1 message discarded\n` });
    expect(json(readFileSync(file, "utf8"))).toMatchObject([{ queue: dead, messageId: "one", body: "1" }]);
    expect(await discard("--all", "--yes")).toMatchObject({ code: 2, errors: expect.stringContaining("EEXIST") });
    expect(await bare.count(dead)).toBe(2);
  });

  test("on a terminal, discard asks first and requeue shows its progress", async ({ vhost, cleanup, skip }) => {
    if (isWithoutScript()) skip(needsScript);
    const bare = await leaveThree(vhost.url, cleanup);
    const refused = onTerminal(vhost.url, "discard --all", cleanup);
    await refused.isAsked(`Permanently delete 3 messages from ${dead}? [y/N]`);
    refused.type("n\n");
    expect(await refused.end()).toMatchObject({ code: 0 });
    expect(await bare.count(dead)).toBe(3);
    expect(await onTerminal(vhost.url, "requeue --id one", cleanup).end()).toMatchObject({
      code: 0,
      screen: expect.stringContaining(`\u001b[K${dead}: 1 requeued, 3 of 3 read`),
    });
    const confirmed = onTerminal(vhost.url, "discard --all", cleanup);
    await confirmed.isAsked(`Permanently delete 2 messages from ${dead}? [y/N]`);
    confirmed.type("y\n");
    expect(await confirmed.end()).toMatchObject({
      code: 0,
      screen: expect.stringContaining(`${dead}: 2 messages discarded`),
    });
    expect(await bare.count(dead)).toBe(0);
  });

  test("discard saves what it may delete even after a queue that it may not", async ({ vhost, cleanup, skip }) => {
    if (isWithoutScript()) skip(needsScript);
    const billing = await leaveThree(vhost.url, cleanup);
    const shipping = cleanup(await bareDeadLetters(vhost.url, "order.placed.shipping"));
    await shipping.setAside(["4"]);
    const folder = await privateFolder("saved", undefined);
    cleanup(() => folder.remove());
    const file = join(folder.path, "dead.jsonl");
    const terminal = onTerminal(vhost.url, `discard --all --save '${file}'`, cleanup);
    await terminal.isAsked(`from ${dead}? [y/N]`);
    terminal.type("n\n");
    await terminal.isAsked("from order.placed.shipping.dead? [y/N]");
    terminal.type("y\n");
    expect(await terminal.end()).toMatchObject({ code: 0 });
    expect(json(readFileSync(file, "utf8"))).toMatchObject([{ queue: "order.placed.shipping.dead", body: "4" }]);
    expect([await billing.count(dead), await shipping.count("order.placed.shipping.dead")]).toEqual([3, 0]);
  });

  test("discard ends by itself if its channel is lost while it waits for the answer", async ({
    vhost,
    cleanup,
    skip,
  }) => {
    if (isWithoutScript()) skip(needsScript);
    const bare = await leaveThree(vhost.url, cleanup);
    const proxy = cleanup(await startProxy(vhost.url));
    const terminal = onTerminal(proxy.url, "discard --all", cleanup);
    await terminal.isAsked("? [y/N]");
    proxy.cut();
    const { code, screen } = await terminal.end();
    expect(code).toBe(1);
    expect(screen).toMatch(/\[y\/N\] [^\n]*\nThe channel to queue "order\.placed\.billing\.dead" was lost: [^\n]+\n$/);
    await expect.poll(() => bare.count(dead)).toBe(3);
  });

  test("Ctrl-C immediately returns the messages when nobody reads the output to its end", async ({
    vhost,
    cleanup,
  }) => {
    const bare = cleanup(await bareDeadLetters(vhost.url, queue));
    await bare.setAside(Array.from({ length: 300 }, () => "x".repeat(4_096)).map((body) => ({ body })));
    const env = { PATH: process.env["PATH"], AMQP_URL: vhost.url };
    const child = spawn(process.execPath, [cli, "dead", "show", dead], { env, stdio: ["ignore", "pipe", "pipe"] });
    cleanup(() => child.kill("SIGKILL"));
    const errors = text(child.stderr);
    await once(child.stdout, "readable");
    await expect.poll(() => bare.count(dead)).toBeLessThan(300);
    // Twice, as with a package manager in between
    child.kill("SIGINT");
    child.kill("SIGINT");
    await expect.poll(() => bare.count(dead)).toBe(300);
    expect(child.exitCode).toBeNull();
    const ended = once(child, "close");
    child.stdout.resume();
    expect(await ended).toEqual([1, null]);
    expect(await errors).toBe("Interrupted. The remaining messages were left in the queue.\n");
  });

  test("works with the operator's derived permissions, and reports what is missing", async ({ vhost, cleanup }) => {
    await leaveThree(vhost.url, cleanup);
    const [user, password] = [`operator-${vhost.name}`, "p@ss/word,1"];
    const least = operatorPermissions(system);
    await vhost.management.createUser(user, password, { vhost: vhost.name, ...least });
    cleanup(() => vhost.management.deleteUser(user));
    const url = new URL(vhost.url);
    // A comma in a password separates no addresses
    [url.username, url.password] = [user, encodeURIComponent(password).replace("%2C", ",")];
    const operator = (...args: string[]) => amqpKit(url.href, "dead", ...args);
    expect(await operator("list")).toMatchObject({ code: 0, out: expect.stringContaining("3 messages") });
    expect(await operator("show", "--json")).toMatchObject({ code: 0, out: expect.stringContaining('"body":"3"') });
    expect(await operator("requeue", "--id", "one")).toMatchObject({ code: 0 });
    expect(await operator("discard", "--id", "two", "--yes")).toMatchObject({ code: 0 });
    expect(await operator("list")).toMatchObject({ code: 0, out: expect.stringContaining("1 message\n") });

    await vhost.management.grant(user, { vhost: vhost.name, ...least, write: "^$" });
    const refused = await operator("requeue", "--all");
    expect(refused).toMatchObject({ code: 1, out: `${dead}: 0 of 1 message requeued to ${queue}\n` });
    expect(refused.errors).toContain("ACCESS_REFUSED");
    expect(refused.errors).not.toContain(password);
    expect(await operator("list")).toMatchObject({ code: 0, out: expect.stringContaining("1 message\n") });
  });

  test("fails immediately with a clear message: no broker, wrong password, no such queue", async ({ vhost }) => {
    const [port = 0] = await freePorts(1);
    const nobody = await amqpKit(`amqp://127.0.0.1:${port}`, "dead", "list");
    expect(nobody).toMatchObject({ code: 1, out: "" });
    expect(nobody.errors).toMatch(/^Cannot connect to the broker at amqp:.*ECONNREFUSED.*\n$/);
    const url = new URL(vhost.url);
    url.password = "s3cret";
    const stranger = await amqpKit(url.href, "dead", "list");
    expect(stranger.code).toBe(1);
    expect(stranger.errors).toMatch(/refuses this user or password/);
    expect(stranger.errors).not.toContain("s3cret");
    const mistyped = await amqpKit(vhost.url, "dead", "list", "order.placed.biling.dead");
    expect(mistyped).toMatchObject({ code: 2, out: "" });
    expect(mistyped.errors).toContain(
      `Queue "order.placed.biling.dead" does not exist on the broker. The system's dead queues are ${dead}, `,
    );
  });

  test("reads the broker's address from a file, and refuses two sources", async ({ vhost, cleanup }) => {
    const folder = await privateFolder("address", undefined);
    cleanup(() => folder.remove());
    const file = join(folder.path, "amqp-url");
    writeFileSync(file, `${vhost.url}\n`);
    expect(await amqpKit({ AMQP_URL_FILE: file }, "dead", "list")).toMatchObject({ code: 0, errors: "" });
    const twice = await amqpKit({ AMQP_URL: vhost.url, AMQP_URL_FILE: file }, "dead", "list");
    expect(twice).toMatchObject({ code: 2, out: "" });
    expect(twice.errors).toContain("AMQP_URL and AMQP_URL_FILE are both set");
    const missing = await amqpKit({ AMQP_URL_FILE: `${file}.not` }, "dead", "list");
    expect(missing.code).toBe(2);
    expect(missing.errors).toMatch(/Cannot read the file that AMQP_URL_FILE names: .*ENOENT/);
  });

  test("policy is for the virtual host of that address, wherever it comes from", async ({ cleanup }) => {
    const folder = await privateFolder("address", undefined);
    cleanup(() => folder.remove());
    const file = join(folder.path, "amqp-url");
    const url = "amqp://user:password@localhost/orders";
    writeFileSync(file, `${url}\n`);
    const expected: [Record<string, string>, string][] = [
      [{ AMQP_URL: url }, "orders"],
      [{ AMQP_URL_FILE: file }, "orders"],
      [{}, "/"],
    ];
    for (const [variables, vhost] of expected) {
      const { out } = await amqpKit(variables, "dead", "policy", "--json");
      expect(json(out)).toMatchObject([{ policies: [{ vhost }] }]);
    }
  });

  test("refuses to read the queue on RabbitMQ 4.0 to 4.2 until somebody confirms that the policy is set (pitfall 90c)", async ({
    vhost,
    broker,
    cleanup,
  }) => {
    const bare = await leaveThree(vhost.url, cleanup);
    const proxy = cleanup(await startProxy(vhost.url));
    // The same number of bytes, in the handshake
    const claimed = "4.1.".padEnd(broker.version.length, "1");
    proxy.filter((frame) => {
      const at = frame.method === amqpMethods.connectionStart ? frame.payload.indexOf(broker.version) : -1;
      if (at >= 0) frame.payload.write(claimed, at);
      return "pass";
    });
    for (const command of ["list", "show"]) {
      const refused = await amqpKit(proxy.url, "dead", command);
      expect(refused).toMatchObject({ code: 2, out: "" });
      expect(refused.errors).toContain(`RabbitMQ ${claimed} counts each read of a quorum queue`);
    }
    const [first] = await bare.drain(dead);
    expect(first?.fields.redelivered).toBe(false);
    const vouched = await amqpKit(proxy.url, "dead", "list", "--policy-is-set");
    expect(vouched).toMatchObject({ code: 0, out: `${dead}: empty\norder.placed.shipping.dead: does not exist\n` });
  });
});
