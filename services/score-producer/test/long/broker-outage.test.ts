import { expect } from "vitest";
import { scoreUpdates, system } from "@amqp-idioms/contracts";
import { startProcess } from "@amqp-idioms/local-servers";
import { test } from "@amqp-idioms/local-servers/vitest";
import { connect } from "amqp-kit";

const main = `${import.meta.dirname}/../../src/main.ts`;

test("It waits for a broker that is down; updates without a broker are dropped, and the next ones are received", async ({
  ownBroker,
  cleanup,
}) => {
  await ownBroker.stop();
  const service = cleanup(
    await startProcess({ main, args: ["--stdin"], env: { AMQP_URL: ownBroker.url, PORT: "0" }, waitForReady: false }),
  );
  await expect.poll(() => service.lines.length).toBeGreaterThan(0);
  await ownBroker.start();
  const listener = cleanup(await connect(ownBroker.url, { system, service: "score-display" }));
  const events: string[] = [];
  await listener.listen(scoreUpdates, ({ event }) => events.push(event));
  service.write(`${line("before")}\n`);
  await expect.poll(() => events, { timeout: 60_000 }).toContain("before");
  await ownBroker.kill();
  await expect
    .poll(() => {
      service.write(`${line("lost")}\n`);
      return service.lines.some(({ json }) => json?.["msg"] === "messages dropped");
    })
    .toBe(true);
  await ownBroker.start();
  await expect
    .poll(
      () => {
        service.write(`${line("after")}\n`);
        return events;
      },
      { timeout: 60_000, interval: 200 },
    )
    .toContain("after");
  service.endInput();
  expect(await service.exited).toMatchObject({ code: 0 });
});

function line(event: string): string {
  const home = { team: "A", score: 2 };
  return JSON.stringify({ match: "A - B", home, away: { team: "B", score: 0 }, event, at: "2026-01-01T12:00:00Z" });
}
