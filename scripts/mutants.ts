/**
 * Shows that tests of docs/pitfalls.md bite: takes measures of the kit out, each by a patch of its source as vitest loads it, and expects
 * the named tests to fail without the measure, and to pass with it. No file is changed. All of it on one broker, side by side.
 */
import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import type { TestCase } from "vitest/node";
import { createVitest } from "vitest/node";

interface Mutant {
  /** the measure that is taken out, and the pitfall that it is against */
  without: string;
  /** in packages/amqp-kit/src */
  file: string;
  /** stands there once */
  find: string;
  replace: string;
  /** names of tests that must fail then, less the pitfalls' numbers at their ends, and their file in packages/amqp-kit/test */
  fails: { in: string; tests: [string, ...string[]] };
}

const kit = resolve("packages/amqp-kit");
/** Whatever else goes wrong: a measure that is missing may leave something waiting for ever. */
const patienceMs = 5 * 60_000;

const mutants: Mutant[] = [
  {
    without: "a listener for a connection error inside set-up (pitfall 1)",
    file: "broker/dial.ts",
    find: `model.on("error", (error) => {
      reason = abortSocket.signal.aborted ? abortSocket.signal.reason : error;
      onLost(model, reason);
    });`,
    replace: "",
    fails: {
      in: "long/connection-recovery.test.ts",
      tests: ["right behind a declaration: the process lives, tells of it, and connects again"],
    },
  },
  {
    without: "the look whether a connection was lost inside set-up (pitfall 2)",
    file: "broker/dial.ts",
    find: `await Promise.race([openChannel(model), closed]);\n    if (isClosed) throw new Error("closed");`,
    replace: "void openChannel;\n    void isClosed;",
    fails: {
      in: "long/connection-recovery.test.ts",
      tests: ["right behind the handshake's last word: the process lives, tells of it, and connects again"],
    },
  },
  {
    without: "the look whether it was lost as a channel was opened (pitfall 2)",
    file: "broker/connection.ts",
    find: `if (this.#model !== model) throw new Error("closed");`,
    replace: "",
    fails: {
      in: "long/connection-recovery.test.ts",
      tests: ["a connection lost as its publishing channel opens does not prevent the next notification"],
    },
  },
  {
    without: "a listener for a channel's errors (pitfall 7)",
    file: "broker/channel.ts",
    find: `raw.on("error", (error) => (this.#reason = error));`,
    replace: "",
    fails: {
      in: "servers/broadcast-sender.test.ts",
      tests: [
        "a deleted exchange affects nothing else: notifications of the same process continue, and no connection is lost",
      ],
    },
  },
  {
    without: "noDelay, against Nagle's algorithm (pitfall 12a)",
    file: "broker/dial.ts",
    find: "noDelay: true",
    replace: "noDelay: false",
    fails: {
      in: "long/defaults.test.ts",
      tests: [
        "nothing waits for Nagle's algorithm: a request, and a confirmed message of 4 KiB, take a few milliseconds",
      ],
    },
  },
  {
    without: "the look whether the exchange has vanished (pitfall 18)",
    file: "broadcast/sender.ts",
    find: "await channel.raw.checkExchange(this.#broadcast.name);",
    replace: "",
    fails: {
      in: "servers/broadcast-sender.test.ts",
      tests: ["a message sent to a deleted exchange, before the sender knows, still reaches a listener that is there"],
    },
  },
  {
    without: "a channel of its own for each look (pitfall 24)",
    file: "broker/connection.ts",
    find: "const channel = await this.channel();",
    replace: `const shared = this as { admin?: Channel };
    const channel = (shared.admin ??= await this.channel());
    channel.close = () => Promise.resolve();`,
    fails: {
      in: "long/notify-load.test.ts",
      tests: [
        "a subscriber without the notifier's exchange is connected but not ready, and bound within 5 s of its declaration",
      ],
    },
  },
  {
    without: "an end to waiting for drain when the channel closes (pitfall 35)",
    file: "broker/channel.ts",
    find: `this.raw.on("drain", resolve).on("close", resolve);`,
    replace: `this.raw.on("drain", resolve);`,
    fails: {
      in: "long/network-faults.test.ts",
      tests: ["a sender whose link is cut while it waits for drain continues on the next connection"],
    },
  },
  {
    without: "the window of unconfirmed messages (pitfall 36)",
    file: "broker/publisher.ts",
    find: "const maxUnconfirmed = 1_000;",
    replace: "const maxUnconfirmed = Infinity;",
    fails: {
      in: "servers/notify-notifier.test.ts",
      tests: ["at most 1,000 are unconfirmed: the next wait for room, within their own time limit"],
    },
  },
  {
    without: "mandatory (pitfall 38)",
    file: "broker/publisher.ts",
    find: "mandatory: true }",
    replace: "mandatory: false }",
    fails: {
      in: "servers/notify-notifier.test.ts",
      tests: [
        "no queue is bound: notify rejects with outcome not-executed, and the queues are declared again within 5 s",
      ],
    },
  },
  {
    without: "the message id by which a return finds its publish (pitfall 39)",
    file: "broker/publisher.ts",
    find: "entry.messageId === properties.messageId && !entry.isReturned",
    replace: "properties !== undefined && !entry.isReturned",
    fails: {
      in: "servers/replies.test.ts",
      tests: ["of 1,000 concurrent requests, half without a responder, each return ends its own request only"],
    },
  },
  {
    without: "the correlation id by which a reply finds its request (pitfall 68)",
    file: "request-response/requester.ts",
    find: "const pending = this.#pending.get(String(message.properties.correlationId));",
    replace: "const [pending] = this.#pending.values();",
    fails: {
      in: "servers/replies.test.ts",
      tests: ["a late, doubled or foreign reply is ignored and counted"],
    },
  },
  {
    without: "forgetting who no longer waits, against late replies (pitfall 68)",
    file: "request-response/requester.ts",
    find: "this.#pending.delete(correlationId);",
    replace: "",
    fails: {
      in: "servers/replies.test.ts",
      tests: ["a late, doubled or foreign reply is ignored and counted"],
    },
  },
  {
    without: "the check of reply_to (pitfall 71)",
    file: "request-response/responder.ts",
    find: "/^amq\\.gen-[A-Za-z0-9_-]{1,64}$/.test(replyTo)",
    replace: "replyTo.length < 256",
    fails: {
      in: "servers/responders.test.ts",
      tests: ["a request whose reply_to is not a server-named reply queue is refused and counted, valid or not"],
    },
  },
];

/** One project of vitest: tests of one file, with one mutant or with none. */
interface Run {
  name: string;
  mutant: Mutant | undefined;
  file: string;
  tests: string[];
}

for (const { without, file, find } of mutants) {
  const count = readFileSync(join(kit, "src", file), "utf8").split(find).length - 1;
  if (count !== 1)
    throw new Error(`What is to be taken out, "${without}", stands ${count} times in ${file}, not once.`);
}
const changed = mutants.map((mutant): Run => ({
  name: `without ${mutant.without}`,
  mutant,
  file: mutant.fails.in,
  tests: mutant.fails.tests,
}));
const unchanged = [...Map.groupBy(mutants, ({ fails }) => fails.in)].map(([file, group]): Run => {
  const tests = [...new Set(group.flatMap(({ fails }) => fails.tests))];
  return { name: `as it is, ${file}`, mutant: undefined, file, tests };
});
const runs = [...changed, ...unchanged];

let passed = 0;
let failed = 0;
const finished = new Set<string>();
const tooLate = setTimeout(() => {
  const missing = runs.filter(({ name }) => !finished.has(name)).map(({ name }) => name);
  console.log(`FAILED  did not come to an end: ${missing.join("; ")}\n${passed} passed, ${failed + 1} failed`);
  process.exit(1);
}, patienceMs);
const vitest = await createVitest(
  {
    config: false,
    watch: false,
    fsModuleCache: false,
    reporters: [{ onTestCaseResult: onResult, onTestModuleEnd: ({ project }) => void finished.add(project.name) }],
  },
  {
    test: {
      projects: runs.map(({ name, mutant }) => ({
        extends: join(kit, "vitest.config.ts"),
        root: kit,
        plugins: mutant === undefined ? [] : [patching(mutant)],
        test: {
          name,
          maxWorkers: 4,
          // Where one fails, it mostly waits for what does not come
          testTimeout: 20_000,
          expect: { poll: { timeout: 8_000 } },
          // Beside all the others, what measures time may need another try
          retry: mutant === undefined ? 2 : 0,
          typecheck: { enabled: false },
          // Else the next run of the tests would load the patched sources
          fsModuleCache: false,
        },
      })),
    },
  },
);
const specifications = runs.map(({ name, file, tests }) => {
  const project = vitest.projects.find((one) => one.name === name);
  if (project === undefined) throw new Error(`vitest has no project "${name}".`);
  const titles = tests.map((test) => test.replaceAll(/[.*+?^${}()|[\]\\]/g, "\\$&")).join("|");
  return project.createSpecification(join(kit, "test", file), {
    testNamePattern: new RegExp(`(${titles})( \\(pitfalls? [^)]*\\))?$`),
  });
});
await vitest.runTestSpecifications(specifications);
await vitest.close();
clearTimeout(tooLate);
const expected = runs.flatMap(({ tests }) => tests).length;
if (passed + failed !== expected) {
  console.log(`FAILED  ${expected} tests are named, ${passed + failed} were run`);
  failed += 1;
}
console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;

function patching({ file, find, replace }: Mutant) {
  return {
    name: "take a measure out",
    enforce: "pre" as const,
    transform: (code: string, id: string) =>
      id === join(kit, "src", file) ? code.replace(find, () => replace) : undefined,
  };
}

function onResult(test: TestCase): void {
  const { state, errors = [] } = test.result();
  if (state === "skipped") return;
  const isChanged = changed.some(({ name }) => name === test.project.name);
  const isGood = state === (isChanged ? "failed" : "passed");
  const why = isChanged && isGood ? `\n          ${errors[0]?.message.split("\n")[0] ?? ""}` : "";
  console.log(`${isGood ? "passed" : "FAILED"}  ${test.project.name}: ${state}\n          ${test.name}${why}`);
  if (isGood) {
    passed += 1;
  } else {
    failed += 1;
    errors.forEach(({ stack, message }) => console.log(`\n${stack ?? message}\n`));
  }
}
