import { test } from "@amqp-idioms/local-servers/vitest";
import { expect } from "vitest";
import { bench, hasDefaultQueueTypes } from "../../src/bench.ts";
import type { Figure } from "../../src/figure.ts";

test("Every figure that docs/scaling.md quotes can be measured", { timeout: 180_000 }, async ({ broker, database }) => {
  const logged: Figure[] = [];
  const figures = await bench(
    { broker, postgresUrl: database.url },
    { seconds: 0.1, log: (figure) => logged.push(figure) },
  );
  expect(logged).toEqual(figures);
  expect(figures).toHaveLength(hasDefaultQueueTypes(broker) ? 20 : 16);
  // This catches NaN, too
  expect(figures.filter(({ kit, amqplib = 1 }) => !(kit > 0 && amqplib > 0))).toEqual([]);
});
