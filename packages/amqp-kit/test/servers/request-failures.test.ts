import { test } from "@amqp-idioms/local-servers/vitest";
import { describe, expect } from "vitest";
import { connect, NoResponderError, OperationError, RemoteError } from "../../src/index.ts";
import { failure, lamps, type Quote } from "../asking.ts";
import { quote, system } from "../contracts.ts";
import { otherCopy } from "../other-copy.ts";
import { bareRequester, bareResponder } from "../peers/bare-request-response.ts";
import { recordingLogger } from "../recording.ts";

describe("handler fails: answered with a typed error, or a plain failure that shows no internals", () => {
  const secret = "Jane Doe, born 1980-01-01";
  const failures = [
    ["an Error", () => new Error(secret)],
    ["no Error at all", () => secret],
    ["nothing", () => undefined],
    [
      "an error that the operation does not declare",
      () => new OperationError(quote, secret as "sold_out", {} as never),
    ],
    [
      "a declared error whose details break their schema",
      () => new OperationError(quote, "sold_out", { article: 7 } as never),
    ],
    [
      "another operation's error",
      () => new OperationError({ ...quote, name: "other" }, "sold_out", { article: secret }),
    ],
    ["an error of the kit", () => new NoResponderError(quote, "unknown", secret)],
  ] as const;

  const strangers = [
    ["invalid JSON", "{", {}, "invalid_response"],
    ["an answer that breaks its schema", '{"article":7}', {}, "invalid_response"],
    ["another content type", "<a/>", { contentType: "text/xml" }, "invalid_response"],
    ["an answer over the limit", Buffer.alloc(1024 * 1024 + 1, " "), {}, "response_too_large"],
    ["an unreadable problem", "{", { contentType: "application/problem+json" }, "internal_error"],
    [
      "a problem of its own",
      '{"code":"out_of_paper"}',
      { contentType: "Application/Problem+JSON; charset=utf-8" },
      "out_of_paper",
    ],
    [
      "a declared error with wrong details",
      '{"code":"sold_out","details":{}}',
      { contentType: "application/problem+json" },
      "invalid_response",
    ],
    ["a problem that is no object", "null", { contentType: "application/problem+json" }, "internal_error"],
  ] as const;

  test("a declared error arrives as that error, with validated details (pitfall 76)", async ({ vhost, cleanup }) => {
    const warehouse = cleanup(await connect(vhost.url, { system, service: "warehouse" }));
    await warehouse.respond(quote, ({ article }) => {
      throw new OperationError(quote, "sold_out", { article, stock: 0 } as { article: string });
    });
    const till = cleanup(await connect(vhost.url, { system, service: "till" }));
    const { error } = await failure(till.request(quote, lamps(1)));
    expect(error).toBeInstanceOf(OperationError);
    expect(OperationError.is(error, quote, "sold_out") && error.details).toEqual({ article: "lamp" });
    expect(error).toMatchObject({ code: "AMQP_KIT_OPERATION", contract: "quote", error: "sold_out", retryable: false });
  });

  test("a declared error of another copy of the kit in the process is the same error", async ({ vhost, cleanup }) => {
    const warehouse = cleanup(await connect(vhost.url, { system, service: "warehouse" }));
    expect(otherCopy.OperationError).not.toBe(OperationError);
    await warehouse.respond(quote, ({ article }) => {
      throw new otherCopy.OperationError(quote, "sold_out", { article });
    });
    const till = cleanup(await connect(vhost.url, { system, service: "till" }));
    const { error } = await failure(till.request(quote, lamps(1)));
    expect(otherCopy.OperationError.is(error, quote, "sold_out") && error.details).toEqual({ article: "lamp" });
  });

  test("on the wire a declared error is problem details, with its name as the code", async ({ vhost, cleanup }) => {
    const warehouse = cleanup(await connect(vhost.url, { system, service: "warehouse" }));
    await warehouse.respond(quote, ({ article }) => {
      throw new OperationError(quote, "sold_out", { article });
    });
    const requester = cleanup(await bareRequester(vhost.url, "shop", "quote"));
    const reply = await requester.ask(JSON.stringify(lamps(1)));
    expect(reply.properties.contentType).toBe("application/problem+json");
    expect(JSON.parse(reply.content.toString())).toEqual({
      type: "urn:amqp-kit:problem:sold_out",
      title: '"quote" ended with "sold_out".',
      code: "sold_out",
      retryable: false,
      details: { article: "lamp" },
    });
  });

  test.for(failures)(
    "thrown: %s; the requester gets a plain failure without text or stack (pitfalls 8, 70, 123)",
    async ([, thrown], { vhost, cleanup }) => {
      const logger = recordingLogger();
      const warehouse = cleanup(await connect(vhost.url, { system, service: "warehouse", logger }));
      await warehouse.respond(quote, async ({ article }) => {
        if (article === "lamp") return { article, cents: 1 };
        throw thrown();
      });
      const requester = cleanup(await bareRequester(vhost.url, "shop", "quote"));
      const reply = await requester.ask(JSON.stringify({ article: "sofa", pieces: 1 }));
      expect(reply.properties.contentType).toBe("application/problem+json");
      expect(JSON.parse(reply.content.toString())).toEqual({
        type: "urn:amqp-kit:problem:internal_error",
        title: "The request failed",
        code: "internal_error",
        retryable: true,
      });
      expect(JSON.stringify(logger.lines)).not.toContain(secret);
      const till = cleanup(await connect(vhost.url, { system, service: "till" }));
      const { error } = await failure(till.request(quote, { article: "sofa", pieces: 1 }));
      expect(error).toBeInstanceOf(RemoteError);
      expect(error).toMatchObject({ remoteCode: "internal_error", retryable: true, contract: "quote" });
      // A failing request does not hold up the next
      expect(await till.request(quote, lamps(1))).toEqual({ article: "lamp", cents: 1 });
    },
  );

  test("an answer that breaks its schema is a plain failure; one over the limit says so", async ({
    vhost,
    cleanup,
  }) => {
    const logger = recordingLogger();
    const warehouse = cleanup(await connect(vhost.url, { system, service: "warehouse", logger }));
    await warehouse.respond(quote, ({ article }) =>
      article === "sofa" ? { article: "x".repeat(1024 * 1024), cents: 1 } : ({ article: secret } as Quote),
    );
    const till = cleanup(await connect(vhost.url, { system, service: "till" }));
    expect((await failure(till.request(quote, lamps(1)))).error).toMatchObject({ remoteCode: "internal_error" });
    const tooLarge = await failure(till.request(quote, { article: "sofa", pieces: 1 }));
    expect(tooLarge.error).toMatchObject({ remoteCode: "response_too_large", retryable: false });
    expect(tooLarge.error).toMatchObject({
      message: expect.stringMatching(/takes 10486\d\d bytes; the limit is 1048576/),
    });
    expect(JSON.stringify(logger.lines)).not.toContain(secret);
    // The one who can mend it learns which field broke which rule
    expect(JSON.stringify(logger.lines)).toContain("cents");
  });

  test.for(strangers)(
    "a stranger answers %s: the caller's own request is not to blame (pitfall 76)",
    async ([, body, properties, code], { vhost, cleanup }) => {
      cleanup(await bareResponder(vhost.url, "shop", "quote", () => ({ body, properties })));
      const till = cleanup(await connect(vhost.url, { system, service: "till" }));
      const { error } = await failure(till.request(quote, lamps(1)));
      expect(error).toBeInstanceOf(RemoteError);
      expect(error).toMatchObject({ remoteCode: code, contract: "quote" });
    },
  );
});
