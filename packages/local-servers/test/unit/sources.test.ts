import { describe, expect, test } from "vitest";
import { startPostgres, startRabbitMq } from "../../src/index.ts";
import { rabbitMqImage } from "../../src/rabbitmq/config.ts";

describe("where servers come from", () => {
  test("when no broker can be had, one error names the four ways with their commands", async () => {
    const none = startRabbitMq({ from: ["named"], env: {} });
    await expect(none).rejects.toThrow("named: AMQP_URL is not set");
    await expect(none).rejects.toThrow(
      /1\. .*export AMQP_URL=amqp.*\n.*2\. .*docker.*\n.*3\. .*apt-get install -y rabbitmq-server.*\n.*4\. .*as root/,
    );
  });

  test("a misspelt RABBITMQ_FROM or POSTGRES_FROM is refused with the words that it knows", async () => {
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

  test("a named broker that does not answer is an error without its credentials, and nothing else is tried", async () => {
    const env = { AMQP_URL: "amqp://someone:secret@127.0.0.1:1" };
    const failure = await startRabbitMq({ env }).catch((error: unknown) => String(error));
    expect(failure).toContain("The RabbitMQ at 127.0.0.1:1, which AMQP_URL names, does not answer.");
    expect(failure).not.toContain("secret");
  });

  test("without PostgreSQL there is a reason that says how to get one", async () => {
    const result = await startPostgres({ from: ["named"], env: {} });
    expect(result).toEqual({
      server: undefined,
      reason: expect.stringContaining("apt-get install postgresql"),
    });
  });
});
