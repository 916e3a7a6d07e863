/** Each role in each language against the other role in each language, without the services: those are in `test/long`. */
import { randomUUID } from "node:crypto";
import { expect } from "vitest";
import { linesOf, test } from "../roles.ts";

test("A broadcast from Python or TypeScript reaches a listener in either language", async ({ python, typescript }) => {
  const listeners = [await python.start("broadcast_listen.py"), await typescript.start("broadcast-listen.ts")];
  expect(await typescript.run("broadcast-send.ts")).toMatchObject({ code: 0 });
  expect(await python.run("broadcast_send.py")).toMatchObject({ code: 0 });
  const update = ["AL 24: FL 7", "Touch down by Tim Tebow"];
  for (const listener of listeners) {
    await expect.poll(() => linesOf(listener)).toEqual([...update, ...update]);
    expect(await listener.stop({ signal: "SIGINT" })).toMatchObject({ code: 0 });
  }
});

test("A notification from Python or TypeScript reaches a subscriber in either language", async ({
  python,
  typescript,
}) => {
  // The Python subscriber starts first, because it declares the exchange
  const subscribers = [
    await python.start("notify_subscribe.py", "billing"),
    await typescript.start("notify-subscribe.ts"),
  ];
  const patientId = randomUUID();
  const ann = { patientId, given: "Ann", surname: "Smith", birthDate: null, registeredAt: "2026-03-02T09:00:00Z" };
  expect(await python.run("notify_send.py", JSON.stringify(ann))).toMatchObject({ code: 0 });
  expect(await typescript.run("notify-send.ts")).toMatchObject({ code: 0 });
  for (const subscriber of subscribers) {
    await expect
      .poll(() => linesOf(subscriber))
      .toEqual([`Ann Smith, ${patientId}`, expect.stringMatching(/^John Smith, /)]);
    expect(await subscriber.stop({ signal: "SIGINT" })).toMatchObject({ code: 0 });
  }
});

test("A request from Python or TypeScript is answered by a responder in either language", async ({
  python,
  typescript,
}) => {
  for (const start of [
    () => python.start("request_respond.py", "--durable"),
    () => typescript.start("request-respond.ts"),
  ]) {
    const responder = await start();
    for (const { code, stdout } of [await python.run("request_send.py"), await typescript.run("request-send.ts")]) {
      expect(JSON.parse(stdout)).toMatchObject({
        given: "John",
        surname: "Smith",
        birthDate: null,
        patientId: expect.stringMatching(/^[0-9a-f-]{36}$/),
      });
      expect(code).toBe(0);
    }
    expect(await responder.stop({ signal: "SIGINT" })).toMatchObject({ code: 0 });
  }
});
