import { describe, expect, test } from "vitest";
import { startPostgres, startRabbitMq } from "../../src/index.ts";
import { rabbitMqImage } from "../../src/rabbitmq/config.ts";

describe("The sources of servers", () => {
  test("If no broker is available, one error lists the four sources with their commands", async () => {
    const none = startRabbitMq({ from: ["named"], env: {} });
    await expect(none).rejects.toThrow("named: AMQP_URL is not set");
    await expect(none).rejects.toThrow(
      /1\. .*export AMQP_URL=amqp.*\n.*2\. .*docker.*\n.*3\. .*apt-get install -y rabbitmq-server.*\n.*4\. .*as root/,
    );
  });

  test("A misspelt RABBITMQ_FROM or POSTGRES_FROM is refused with the list of valid values", async () => {
    await expect(startRabbitMq({ env: { RABBITMQ_FROM: "docker" } })).rejects.toThrow(
      'RABBITMQ_FROM is "docker", but must be one of named, container, machine, apt.',
    );
    await expect(startPostgres({ env: { POSTGRES_FROM: "docker" } })).rejects.toThrow(
      'POSTGRES_FROM is "docker", but must be one of named, container, machine.',
    );
  });

  test("RABBITMQ_IMAGE chooses the image of RabbitMQ containers", () => {
    expect(rabbitMqImage({ RABBITMQ_IMAGE: "rabbitmq:4.1-management" })).toBe("rabbitmq:4.1-management");
    expect(rabbitMqImage({})).toMatch(/^rabbitmq:4\.\d+-management$/);
  });

  test("A named broker that does not answer causes an error without its credentials, and no other source is tried", async () => {
    const env = { AMQP_URL: "amqp://someone:secret@127.0.0.1:1" };
    const failure = await startRabbitMq({ env }).catch((error: unknown) => String(error));
    expect(failure).toContain("The RabbitMQ at 127.0.0.1:1 (AMQP_URL) does not answer.");
    expect(failure).not.toContain("secret");
  });

  test("A comma in a named broker's password separates no addresses, and the first of several is used", async () => {
    const env = { AMQP_URL: "amqp://someone:12,secret@127.0.0.1:1, amqp://someone:12,secret@127.0.0.1:2" };
    const failure = await startRabbitMq({ env }).catch((error: unknown) => String(error));
    expect(failure).toContain("The RabbitMQ at 127.0.0.1:1 (AMQP_URL) does not answer.");
  });

  test("Without a PostgreSQL the reason says how to get one", async () => {
    const result = await startPostgres({ from: ["named"], env: {} });
    expect(result).toEqual({
      server: undefined,
      reason: expect.stringContaining("apt-get install postgresql"),
    });
  });
});
