import { type ClusterVirtualHost, type RabbitMqNode, startRabbitMqCluster } from "@amqp-idioms/local-servers";
import { type Cleanup, closeAll, test as base } from "@amqp-idioms/local-servers/vitest";
import { expect } from "vitest";
import { AmqpKitError, connect } from "../../src/index.ts";
import { type Order, orderPlaced, prices, system } from "../contracts.ts";
import { Shop } from "../shop.ts";

/** What three nodes promise beyond one: the service goes on without one of them. */

const test = base
  .extend("clusterOfFile", { scope: "file" }, async ({ broker }, { onCleanup }) => {
    // A run on the machine's own RabbitMQ is one of its version alone
    if (broker.source === "machine" || broker.source === "apt") return "a run with RABBITMQ_FROM=container";
    try {
      const cluster = await startRabbitMqCluster();
      onCleanup(() => closeAll([cluster]));
      return cluster;
    } catch (error) {
      if (String(error).includes("no Docker engine answers")) return "a Docker engine";
      throw error;
    }
  })
  .extend("cluster", async ({ clusterOfFile, skip }) => {
    if (typeof clusterOfFile === "string") return skip(`needs ${clusterOfFile}: three RabbitMQ nodes in containers`);
    for (const node of clusterOfFile.nodes) {
      await node.rejoin();
      await node.start();
    }
    return clusterOfFile;
  })
  .extend("cell", async ({ cluster, cleanup }) => ({
    nodes: cluster.nodes,
    vhost: cleanup(await cluster.createVirtualHost()),
  }));

/** What losing a node may take: it is noticed, everything is connected elsewhere, queues have new leaders. */
const withoutIt = { timeout: 40_000 };

const order = (orderId: string): Order => ({ orderId, article: "lamp", pieces: 1 });

interface Cell {
  nodes: readonly RabbitMqNode[];
  vhost: ClusterVirtualHost;
}

async function nodeOf(queue: string, { nodes, vhost }: Cell): Promise<RabbitMqNode | undefined> {
  const found = await vhost.management.queue(vhost.name, queue);
  return nodes.find(({ name }) => found?.node === `rabbit@${name}`);
}

/** The node with the request queue's leader and the queue of a listener, which hears what it hears on a connection to it. */
async function unluckyNode(
  cell: Cell,
  cleanup: Cleanup,
): Promise<{ node: RabbitMqNode; heard: number[]; isReady: () => boolean }> {
  const { vhost } = cell;
  const node = await nodeOf("quote", cell);
  if (node === undefined) throw new Error("the request queue has no leader");
  for (;;) {
    const board = await connect(vhost.urls, { system, service: "board", closeTimeoutMs: 1_000 });
    const before = new Set((await vhost.management.queues(vhost.name)).map(({ name }) => name));
    const heard: number[] = [];
    await board.listen(prices, ({ cents }) => heard.push(cents));
    const queues = await vhost.management.queues(vhost.name);
    const own = queues.find(({ name }) => !before.has(name));
    // It takes one of the addresses at random
    if (own?.node === `rabbit@${node.name}`) {
      cleanup(board);
      return { node, heard, isReady: () => board.isReady };
    }
    await board.close();
  }
}

/** Everything is done by everybody again, from now on: heard, answered, notified and handled. @returns after how long, in ms */
async function untilServing(shop: Shop, heard: readonly number[]): Promise<number> {
  const since = performance.now();
  const at = { heard: heard.length, board: shop.heard.length, answers: shop.answers, confirmed: shop.confirmed.length };
  const isServing = (): boolean =>
    heard.length > at.heard + 10 &&
    shop.heard.length > at.board + 10 &&
    shop.answers > at.answers + 10 &&
    shop.confirmed.length > at.confirmed + 10;
  await expect.poll(isServing, withoutIt).toBe(true);
  return Math.round(performance.now() - since);
}

async function expectNothingLost(shop: Shop): Promise<void> {
  await shop.rest();
  await expect.poll(() => shop.missing, withoutIt).toEqual([]);
  expect(shop.failures.filter((error) => !(error instanceof AmqpKitError && error.retryable))).toEqual([]);
}

test("the cluster's default queue type alone makes notify and request queues quorum queues on all three nodes", async ({
  cell: { vhost },
  cleanup,
}) => {
  cleanup(await Shop.open(vhost.urls));
  const kept = (await vhost.management.queues(vhost.name)).filter(({ exclusive }) => !exclusive);
  expect(kept.map(({ name }) => name)).toEqual(
    expect.arrayContaining(["order.placed.billing", "order.placed.shipping", "order.placed.billing.dead", "quote"]),
  );
  expect(kept.filter(({ type, members }) => type !== "quorum" || members?.length !== 3)).toEqual([]);
});

test(
  "while the node with a listener's queue and the request queue's leader is down, listeners hear and requests are answered",
  {
    timeout: 120_000,
  },
  async ({ cell, cleanup }) => {
    const shop = cleanup(await Shop.open(cell.vhost.urls));
    const { node, heard, isReady } = await unluckyNode(cell, cleanup);
    shop.work();
    await untilServing(shop, heard);
    await node.kill();
    const backAfterMs = await untilServing(shop, heard);
    console.log(`without the node that was killed: back after ${backAfterMs} ms`);
    expect([node.isMember, isReady()]).toEqual([false, true]);
    await node.start();
    await expectNothingLost(shop);
  },
);

test(
  "a node that is cut off confirms nothing, its clients move to the other nodes, and nothing confirmed is lost when it returns",
  {
    timeout: 150_000,
  },
  async ({ cell, cleanup }) => {
    const { vhost, nodes } = cell;
    const shop = cleanup(await Shop.open(vhost.urls, { closeTimeoutMs: 2_000 }));
    const { node, heard } = await unluckyNode(cell, cleanup);
    const there = vhost.urls[nodes.indexOf(node)] ?? "";
    // One that has no other address stays there
    const alone = cleanup(await connect(there, { system, service: "till", closeTimeoutMs: 1_000 }));
    await alone.notify(orderPlaced, order("before"), { messageId: "before" });
    shop.work();
    await untilServing(shop, heard);
    await node.cutOff();
    const backAfterMs = await untilServing(shop, heard);
    console.log(`without the node that was cut off: back after ${backAfterMs} ms`);
    await expect(alone.notify(orderPlaced, order("cut off"), { timeoutMs: 3_000 })).rejects.toMatchObject({
      retryable: true,
    });
    expect(node.isMember).toBe(false);
    await node.rejoin();
    await expect
      .poll(
        () => alone.notify(orderPlaced, order("rejoined"), { messageId: "rejoined" }).then(() => true, String),
        withoutIt,
      )
      .toBe(true);
    await expect.poll(() => shop.billed.has("rejoined")).toBe(true);
    await expectNothingLost(shop);
  },
);

test(
  "all three nodes are restarted, one after the other, under load: every confirmed notification arrives at each subscriber",
  {
    timeout: 180_000,
  },
  async ({ cell: { vhost, nodes }, cleanup }) => {
    const shop = cleanup(await Shop.open(vhost.urls));
    shop.work();
    for (const node of nodes) {
      await node.awaitQuorumWithoutIt();
      const before = shop.confirmed.length;
      await node.stop();
      await expect.poll(() => shop.confirmed.length, withoutIt).toBeGreaterThan(before + 10);
      await node.start();
    }
    await untilServing(shop, shop.heard);
    await expectNothingLost(shop);
  },
);
