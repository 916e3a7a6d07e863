import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { help, readArguments } from "../../src/dead-letters/arguments.ts";
import { Groups, summaryOf } from "../../src/dead-letters/text.ts";
import { workQueue } from "../../src/dead-letters/letter.ts";
import type { DeadLetter } from "../../src/dead-letters/letter.ts";
import { countsReads, deadPolicy, policyCommand, deliveryLimitWarning } from "../../src/derive/dead-policy.ts";
import { UsageError } from "../../src/errors.ts";
import { deadLetterReasons } from "../../src/notify/dead-letter.ts";
import { SavedLetters } from "../../src/dead-letters/saved-letters.ts";
import { Selection } from "../../src/dead-letters/selection.ts";
import { findSystemFile, loadSystems } from "../../src/dead-letters/system-file.ts";
import { system } from "../contracts.ts";

const operations = readFileSync(new URL("../../../../docs/operations.md", import.meta.url), "utf8");

const hoursAgo = (hours: number): Date => new Date(Date.now() - hours * 3_600_000);

function letter(facts: Partial<DeadLetter>): DeadLetter {
  return {
    message: {
      content: Buffer.alloc(0),
      fields: { deliveryTag: 1, redelivered: false, exchange: "", routingKey: "", consumerTag: "" },
      properties: {
        contentType: undefined,
        contentEncoding: undefined,
        headers: {},
        deliveryMode: undefined,
        priority: undefined,
        correlationId: undefined,
        replyTo: undefined,
        expiration: undefined,
        messageId: undefined,
        timestamp: undefined,
        type: undefined,
        userId: undefined,
        appId: undefined,
        clusterId: undefined,
      },
    },
    messageId: undefined,
    reason: undefined,
    service: undefined,
    error: undefined,
    deadLetteredAt: undefined,
    deliveryCount: 0,
    ...facts,
  };
}

describe("the command line", () => {
  test("accepts a command, queues and that command's options", () => {
    const { command, queues, values } = readArguments(["dead", "show", "a.dead", "--id", "1", "--id", "2", "--json"]);
    expect({ command, queues }).toEqual({ command: "show", queues: ["a.dead"] });
    expect(values).toMatchObject({ id: ["1", "2"], json: true });
    expect(readArguments(["--help"]).command).toBe("help");
  });

  test.for([
    ["", 'No command given. Run for example "amqp-kit dead list".'],
    ["dead", 'No command given. Run for example "amqp-kit dead list".'],
    ["alive list", 'No command given. Run for example "amqp-kit dead list".'],
    ["dead lst", 'Unknown command "lst". Commands: list, show, requeue, discard, policy.'],
    ["dead list --jsn", "Unknown option '--jsn'."],
    ["dead list --limit 1", '"dead list" does not accept --limit.'],
    ["dead requeue --all --yes", '"dead requeue" does not accept --yes.'],
    ["dead show --id", "Option '--id <value>' argument missing."],
  ])("refuses %j with a clear message", ([line = "", words]) => {
    expect(() => readArguments(line.split(" ").filter((word) => word !== ""))).toThrow(new UsageError(words ?? ""));
  });

  test("accepts only dead queues", () => {
    expect(workQueue("order.placed.billing.dead")).toBe("order.placed.billing");
    expect(() => workQueue("order.placed.billing")).toThrow(UsageError);
  });

  test("is complete in its help, and the help is in the documents", () => {
    const options = [...help.matchAll(/--[a-z-]+/g)].map(([option]) => option);
    expect(new Set(options)).toEqual(
      new Set(
        ["system", "json", "policy-is-set", "id", "reason", "older-than", "newer-than", "limit", "all", "yes", "save"]
          .map((option) => `--${option}`)
          .concat("--help"),
      ),
    );
    expect(operations).toContain(`\n    ${help.replaceAll("\n", "\n    ").replaceAll("\n    \n", "\n\n")}\n`);
  });
});

describe("the selected dead letters", () => {
  const letters = [
    letter({ messageId: "1", reason: "handler_failed", deadLetteredAt: hoursAgo(30) }),
    letter({ messageId: "2", reason: "invalid_message", deadLetteredAt: hoursAgo(3) }),
    letter({}),
  ];

  test.for([
    [{}, [0, 1, 2]],
    [{ id: ["2", "3"] }, [1]],
    [{ reason: ["handler_failed", "rejected"] }, [0]],
    [{ "older-than": "1d" }, [0]],
    [{ "older-than": "120m", "newer-than": "4h" }, [1]],
    [{ "newer-than": "9s" }, []],
    [{ limit: "2" }, [0, 1]],
    [{ limit: "1", reason: ["invalid_message"] }, [1]],
  ] as const)("%j", ([wishes, chosen]) => {
    expect(new Selection(wishes).choose(letters)).toEqual(chosen.map((index) => letters[index]));
  });

  test("a limit holds over all batches", () => {
    const { choose } = new Selection({ limit: "4" });
    expect([choose(letters), choose(letters), choose(letters)].map((batch) => batch.length)).toEqual([3, 1, 0]);
  });

  test.for([{ reason: ["unlucky"] }, { "older-than": "1w" }, { "newer-than": "" }, { limit: "0" }, { limit: "1.5" }])(
    "%j is refused",
    (wishes) => {
      expect(() => new Selection(wishes)).toThrow(UsageError);
    },
  );

  test("every reason that the kit gives is one", () => {
    expect(new Selection({ reason: deadLetterReasons }).isAll).toBe(false);
  });
});

describe("the delivery limit of RabbitMQ 4", () => {
  test.for([
    ["3.10.8", false],
    ["3.13.7", false],
    ["4.0.0", true],
    ["4.0.9", true],
    ["4.1.0-rc.1", true],
    ["4.2.1", true],
    ["4.3.0", false],
    ["4.10.0", false],
    ["5.0.0", false],
  ] as const)("%s counts a read: %s", ([version, counts]) => {
    expect(countsReads(version)).toBe(counts);
  });

  test("causes a warning from half of it on, until a policy has evidently lifted it", () => {
    const told = [9, 10, 20, 21].map((count) => deliveryLimitWarning("4.3.6", count) !== undefined);
    expect(told).toEqual([false, true, true, false]);
    expect(deliveryLimitWarning("3.13.7", 15)).toBeUndefined();
  });

  test("is lifted by a policy for these queues alone, as a command and as definitions", () => {
    const definitions = deadPolicy(["a.b.dead", "a.c.dead"], "it's");
    expect(definitions.policies).toEqual([
      {
        vhost: "it's",
        name: "amqp-kit-dead",
        pattern: "^(a\\.b\\.dead|a\\.c\\.dead)$",
        "apply-to": "quorum_queues",
        definition: { "delivery-limit": -1 },
        priority: 100,
      },
    ]);
    expect(policyCommand(definitions)).toBe(
      `rabbitmqctl set_policy --vhost 'it'\\''s' --priority 100 --apply-to quorum_queues amqp-kit-dead ` +
        `'^(a\\.b\\.dead|a\\.c\\.dead)$' '{"delivery-limit":-1}'`,
    );
  });
});

describe("the module of a system", () => {
  let folder: string;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "amqp-kit-system-"));
    mkdirSync(join(folder, "inner/deep"), { recursive: true });
    writeFileSync(join(folder, "package.json"), JSON.stringify({ "amqp-kit": { system: "system.js" } }));
    writeFileSync(join(folder, "inner/package.json"), JSON.stringify({ name: "inner" }));
    writeFileSync(join(folder, "none.mjs"), "export const number = 1; export default { port: 3000 };");
    writeFileSync(join(folder, "broken.mjs"), "export const = 1;");
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  test("is what the nearest package.json that names one says", () => {
    expect(findSystemFile(join(folder, "inner/deep"))).toBe(join(folder, "system.js"));
    expect(findSystemFile("/")).toBeUndefined();
  });

  test("gives what it exports of defineSystem, whatever its name", async () => {
    expect(await loadSystems(join(import.meta.dirname, "../contracts.ts"))).toEqual([system]);
  });

  test.for([
    ["missing.mjs", "does not exist"],
    ["none.mjs", "exports no system"],
    ["broken.mjs", "Cannot import"],
  ] as const)("%s is refused with a clear message", async ([file, words]) => {
    await expect(loadSystems(join(folder, file))).rejects.toThrow(UsageError);
    await expect(loadSystems(join(folder, file))).rejects.toThrow(words);
  });
});

test("the file that discard saves to holds exactly the kept messages, even after removed ones", async () => {
  const folder = mkdtempSync(join(tmpdir(), "amqp-kit-saved-"));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const file = join(folder, "dead.jsonl");
  {
    await using saved = await SavedLetters.create(file);
    await saved.write(["refused", "refused, too"]);
    await saved.forgetTheRest();
    await saved.write(["discarded"]);
    saved.keep();
    await saved.forgetTheRest();
    await saved.write(["refused"]);
    await saved.forgetTheRest();
    await saved.write(["discarded, too"]);
    saved.keep();
    // Its deletion fails
    await saved.write(["still there"]);
  }
  expect(readFileSync(file, "utf8")).toBe("discarded\ndiscarded, too\n");
});

describe("what list prints", () => {
  test("is what the documents show", () => {
    const groups = new Groups();
    const [first, last, unread] = ["08:15:02.114", "09:40:57.302", "09:02:11.870"].map(
      (time) => new Date(`2026-11-26T${time}Z`),
    );
    const failed = { service: "scheduling", reason: "handler_failed", error: "error (23514)" };
    const error = 'InvalidMessageError: Message of "notify.patient.add" is not valid: birthDate: Invalid ISO date.';
    groups.add([
      letter({ service: "scheduling", reason: "invalid_message", error, deadLetteredAt: unread }),
      ...[last, first].map((deadLetteredAt) => letter({ ...failed, deadLetteredAt })),
    ]);
    const shown = [
      summaryOf("notify.patient.add.scheduling.dead", 3, groups.all),
      summaryOf("notify.patient.add.reporting.dead", 0, []),
    ].join("\n");
    expect(operations).toContain(`\n    ${shown.replaceAll("\n", "\n    ")}\n`);
  });
});
