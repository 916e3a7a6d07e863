import { expect, test } from "vitest";
import { messages, start } from "./started.ts";

test("invalid settings are reported in one message, before anything is opened and without secrets", async () => {
  const env = {
    PORT: "many",
    TIME_ZONE: "Mars/Olympus",
    AMQP_URL: "amqp//user:secret@host",
    DATABASE_URL: "mysql://secret",
  };
  await using service = await start("configured", { waitForReady: false, env });
  expect(await service.exited).toMatchObject({ code: 1 });
  expect(service.lines).toHaveLength(1);
  expect(service.lines[0]?.json).toMatchObject({
    level: "fatal",
    faults: [
      expect.stringContaining("AMQP_URL must be a complete URL"),
      'PORT must be a whole number from 0 to 65535, but is "many"',
      expect.stringContaining("DATABASE_URL must be a URL like"),
      'TIME_ZONE must be a time zone\'s name like Europe/London, but is "Mars/Olympus"',
    ],
  });
  expect(service.lines[0]?.text).not.toContain("secret");
});

test("valid settings reach the service as typed values", async () => {
  const env = {
    STOP_TIMEOUT_MS: "500",
    TIME_ZONE: "Europe/Berlin",
    DATA_DIR: "/tmp/data",
    AMQP_URL: "amqp://one,amqps://other",
  };
  await using service = await start("configured", { env });
  expect(messages(service)).toContain("settings");
  expect(service.lines.find(({ json }) => json?.["msg"] === "settings")?.json).toMatchObject({
    amqpUrls: ["amqp://one", "amqps://other"],
    host: "127.0.0.1",
    port: 0,
    stopTimeoutMs: 500,
    timeZone: "Europe/Berlin",
    database: { dataDir: "/tmp/data/configured" },
  });
});
