/**
 * Shows that every check bites: plants violations in a copy of the repository, all of a check at once, and expects it to fail with
 * each one's reason, and to pass where nothing is planted. Several tools are silently green when something about them is off.
 */
import { execFileSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { checks, type CheckName } from "./checks.ts";
import { runCommand } from "./run-command.ts";

interface Violation {
  what: string;
  /** a check of `npm run check`, or the workspace whose tests must fail */
  fails: CheckName | { testsOf: string };
  /** what its output says; lint's about a file that is planted here */
  because: RegExp;
  /**
   * path → what the file holds instead; null stands for a file that is not there yet.
   * "planted" in paths, texts and reasons becomes a name of this violation's own.
   */
  plant: Record<string, (text: string | null) => string>;
}

const plants = (text: string) => (): string => text;
const appends =
  (text: string) =>
  (before: string | null): string =>
    `${before ?? ""}\n${text}\n`;
const imports = (specifier: string): Violation["plant"] => ({
  "services/reporting/src/planted.ts": plants(`import ${JSON.stringify(specifier)};\n`),
});
const unitTest = (name: string, text: string): Violation["plant"] => ({
  [`packages/contracts/test/unit/${name}`]: plants(
    `import { expect, expectTypeOf, test } from "vitest";\n\n${text}\nvoid expect;\nvoid expectTypeOf;\n`,
  ),
});
const inService = (text: string): Violation["plant"] => ({ "services/reporting/src/planted.ts": plants(text) });
const work = "async function work(): Promise<boolean> {\n  return Promise.resolve(true);\n}\n";

const testsOfContracts = { testsOf: "packages/contracts" };

const violations: Violation[] = [
  { what: "a floating promise", fails: "lint", because: /no-floating-promises/, plant: inService(`${work}work();\n`) },
  {
    what: "a floating promise beside a configuration of its own",
    fails: "lint",
    because: /no-floating-promises/,
    plant: { ...inService(`${work}work();\n`), "services/reporting/.oxlintrc.json": plants("{}\n") },
  },
  {
    what: "a floating promise from another workspace",
    fails: "lint",
    because: /no-floating-promises/,
    plant: inService(
      'import { connect } from "amqp-kit";\n\nexport const planted = (...all: Parameters<typeof connect>): void => {\n  connect(...all);\n};\n',
    ),
  },
  {
    what: "an async callback where nobody waits",
    fails: "lint",
    because: /no-misused-promises/,
    plant: inService(`${work}[1].forEach(async () => {\n  await work();\n});\n`),
  },
  {
    what: "a promise as a condition",
    fails: "lint",
    because: /no-misused-promises/,
    plant: inService(`${work}if (work()) console.log();\n`),
  },
  { what: "any", fails: "lint", because: /no-explicit-any/, plant: inService("export const planted: any = 1;\n") },
  {
    what: "a cycle of files",
    fails: "lint",
    because: /no-cycle/,
    plant: {
      "services/reporting/src/planted.ts": plants(
        'import { b } from "./planted-b.ts";\nexport const a = (): number => b();\n',
      ),
      "services/reporting/src/planted-b.ts": plants(
        'import { a } from "./planted.ts";\nexport const b = (): number => a();\n',
      ),
    },
  },
  {
    what: "a cycle of types",
    fails: "lint",
    because: /no-cycle/,
    plant: {
      "services/reporting/src/planted.ts": plants('import type { B } from "./planted-b.ts";\nexport type A = B | 1;\n'),
      "services/reporting/src/planted-b.ts": plants(
        'import type { A } from "./planted.ts";\nexport type B = { a: A };\n',
      ),
    },
  },

  {
    what: "a service that imports amqplib",
    fails: "lint",
    because: /No service knows amqplib/,
    plant: imports("amqplib"),
  },
  {
    what: "a service that imports amqplib's types",
    fails: "lint",
    because: /No service knows amqplib/,
    plant: inService('import type { Channel } from "amqplib";\nexport type Planted = Channel;\n'),
  },
  {
    what: "a service that imports amqplib dynamically",
    fails: "lint",
    because: /No service knows amqplib/,
    plant: inService('export const planted = await import("amqplib");\n'),
  },
  {
    what: "a service that imports another by name",
    fails: "lint",
    because: /no other service/,
    plant: imports("@amqp-idioms/scheduling"),
  },
  {
    what: "a service that imports another by path",
    fails: "boundaries",
    because: /leaves the package/,
    plant: imports("../../scheduling/src/main.ts"),
  },
  {
    what: "a service that declares another",
    fails: "boundaries",
    because: /without any tag listed/,
    plant: {
      "services/reporting/package.json": (text) =>
        (text ?? "").replace(
          '"@amqp-idioms/contracts"',
          '"@amqp-idioms/scheduling": "workspace:*",\n    "@amqp-idioms/contracts"',
        ),
      ...imports("@amqp-idioms/scheduling"),
    },
  },
  {
    what: "a service that imports the demo",
    fails: "lint",
    because: /no-restricted-imports/,
    plant: imports("@amqp-idioms/demo"),
  },
  {
    what: "a service that imports what it does not declare",
    fails: "boundaries",
    because: /cannot import package `knip`/,
    plant: imports("knip"),
  },
  {
    what: "contracts that import all of the kit",
    fails: "lint",
    because: /A contract is data/,
    plant: { "packages/contracts/src/planted.ts": plants('import "amqp-kit";\n') },
  },
  {
    what: "contracts that import a service's package",
    fails: "lint",
    because: /Contracts are at the bottom/,
    plant: { "packages/contracts/src/planted.ts": plants('import "@amqp-idioms/service-kit";\n') },
  },
  {
    what: "the outbox that imports the kit",
    fails: "lint",
    because: /stand alone/,
    plant: { "packages/outbox/src/planted.ts": plants('import "amqp-kit";\n') },
  },
  {
    what: "service-kit that imports the outbox",
    fails: "lint",
    because: /stand alone/,
    plant: { "packages/service-kit/src/planted.ts": plants('import "@amqp-idioms/outbox";\n') },
  },
  ...(
    [
      ["processes", "../faults/proxy.ts", /lowest room/],
      ["faults", "../rabbitmq/management.ts", /faults imports processes only/],
      ["rabbitmq", "../postgres/start.ts", /rabbitmq imports processes and faults only/],
      ["postgres", "../vitest/closing.ts", /postgres imports processes and faults only/],
    ] as const
  ).map(([room, specifier, because]): Violation => ({
    what: `local-servers: ${room} that imports ${specifier}`,
    fails: "lint",
    because,
    plant: { [`packages/local-servers/src/${room}/planted.ts`]: plants(`import ${JSON.stringify(specifier)};\n`) },
  })),
  {
    what: "the kit that imports a contract of this system",
    fails: "lint",
    because: /outside this repository/,
    plant: { "packages/amqp-kit/src/broadcast/sender.ts": appends('import "@amqp-idioms/contracts";') },
  },
  ...(["broadcast", "notify", "request-response"] as const).map((idiom): Violation => ({
    what: `${idiom}/ that imports another idiom`,
    fails: "lint",
    because: /No idiom imports another/,
    plant: {
      [`packages/amqp-kit/src/${idiom}/planted.ts`]: plants(
        `import "../${idiom === "notify" ? "broadcast/sender" : "notify/notifier"}.ts";\n`,
      ),
    },
  })),
  ...(["broadcast", "broker", "messages", "dead-letters"] as const).map((folder): Violation => ({
    what: `${folder}/ that imports the session`,
    fails: "lint",
    because: /Imports in the kit go down only|not the idioms/,
    plant: { [`packages/amqp-kit/src/${folder}/planted.ts`]: plants('import "../session.ts";\n') },
  })),
  {
    what: "broker/ that imports an idiom",
    fails: "lint",
    because: /knows no idiom/,
    plant: { "packages/amqp-kit/src/broker/planted.ts": plants('import "../notify/notifier.ts";\n') },
  },
  {
    what: "messages/ that imports the broker",
    fails: "lint",
    because: /messages know neither/,
    plant: { "packages/amqp-kit/src/messages/planted.ts": plants('import "../broker/publisher.ts";\n') },
  },
  {
    what: "the session that imports the operator's tool",
    fails: "lint",
    because: /nothing imports dead-letters/,
    plant: { "packages/amqp-kit/src/session.ts": appends('import "./dead-letters/cli.ts";') },
  },
  {
    what: "errors.ts that imports the connection",
    fails: "lint",
    because: /bottom of the kit/,
    plant: { "packages/amqp-kit/src/errors.ts": appends('import "./broker/connection.ts";') },
  },
  {
    what: "a second value import of amqplib in the kit",
    fails: "lint",
    because: /only value import of amqplib/,
    plant: { "packages/amqp-kit/src/broker/topology.ts": appends('import amqplib from "amqplib";\nvoid amqplib;') },
  },
  {
    what: "contract.ts that imports amqplib",
    fails: "lint",
    because: /A contract is data/,
    plant: {
      "packages/amqp-kit/src/contract.ts": appends(
        'import type { Channel } from "amqplib";\nexport type Planted = Channel;',
      ),
    },
  },
  {
    what: "contract.ts that does I/O",
    fails: "lint",
    because: /neither amqplib nor I\/O/,
    plant: { "packages/amqp-kit/src/contract.ts": appends('import "node:fs";') },
  },
  {
    what: "derive/ that imports the topology, and with it amqplib",
    fails: "lint",
    because: /neither amqplib nor I\/O/,
    plant: { "packages/amqp-kit/src/derive/permissions.ts": appends('import "../broker/topology.ts";') },
  },
  {
    what: "derive/ that does I/O",
    fails: "lint",
    because: /neither amqplib nor I\/O/,
    plant: { "packages/amqp-kit/src/derive/permissions.ts": appends('import "node:fs";') },
  },
  {
    what: "a peer in plain amqplib that uses the kit",
    fails: "lint",
    because: /proves nothing/,
    plant: { "packages/amqp-kit/test/peers/planted.ts": plants('import "amqp-kit";\n') },
  },

  {
    what: "a test that asserts nothing",
    fails: "lint",
    because: /expect-expect/,
    plant: unitTest("planted.test.ts", 'test("planted", () => {});\n'),
  },
  {
    what: "a test that runs alone",
    fails: "lint",
    because: /no-focused-tests/,
    plant: unitTest("planted.test.ts", 'test.only("planted", () => {\n  expect(1).toBe(1);\n});\n'),
  },
  {
    what: "a unit test that is wrong",
    fails: testsOfContracts,
    because: /expected 1 to be 2/,
    plant: unitTest("planted.test.ts", 'test("planted", () => {\n  expect(1).toBe(2);\n});\n'),
  },
  {
    what: "a unit test whose assertions are not reached",
    fails: testsOfContracts,
    because: /expected any number of assertion/,
    plant: unitTest("planted.test.ts", 'test("planted", () => {\n  if (Date.now() === 0) expect(1).toBe(1);\n});\n'),
  },
  {
    what: "a type test that is wrong",
    fails: "types",
    because: /planted\.test-d\.ts/,
    plant: unitTest("planted.test-d.ts", 'test("planted", () => {\n  expectTypeOf(1).toEqualTypeOf<string>();\n});\n'),
  },

  {
    what: "a type error",
    fails: "types",
    because: /reporting.*planted\.ts.*TS2322/,
    plant: inService('export const planted: number = "1";\n'),
  },
  {
    what: "a type error in a script",
    fails: "types",
    because: /scripts\/planted-script\.ts.*TS2322/,
    plant: { "scripts/planted-script.ts": plants('export const planted: number = "1";\n') },
  },
  {
    what: "a change that breaks the types of another workspace",
    fails: "types",
    because: /score-display.*TS2(305|724)/,
    plant: {
      "packages/contracts/src/index.ts": (text) => (text ?? "").replace(/\bscoreUpdates\b/, "scoreUpdates as renamed"),
    },
  },
  {
    what: "an enum, which Node cannot run",
    fails: "types",
    because: /planted\.ts.*TS1294/,
    plant: inService("export enum Planted {\n  A,\n}\n"),
  },

  {
    what: "a file in another format",
    fails: "format",
    because: /planted\.ts/,
    plant: inService("export  const planted=1\n"),
  },
  {
    what: "an unused file",
    fails: "unused",
    because: /Unused files[^]*planted\.ts/,
    plant: inService("export const planted = 1;\n"),
  },
  {
    what: "an unused export",
    fails: "unused",
    because: /Unused exports[^]*planted/,
    plant: { "services/reporting/src/report.ts": appends("export const planted = 1;") },
  },
  {
    what: "an unused type",
    fails: "unused",
    because: /Unused exported types[^]*Planted/,
    plant: { "services/reporting/src/report.ts": appends("export type Planted = 1;") },
  },
  {
    what: "an unused dependency",
    fails: "unused",
    because: /Unused dependencies[^]*pg /,
    plant: {
      "services/reporting/package.json": (text) =>
        (text ?? "").replace('"dependencies": {', '"dependencies": {\n    "pg": "catalog:",'),
    },
  },
  {
    what: "a document that shows other code than runs",
    fails: "documents",
    because: /docs\/notify\.md: shows code that is not that file's any more/,
    plant: { "packages/contracts/src/patient-added.ts": appends("// planted") },
  },
  {
    what: "a service that was copied and keeps the other's name",
    fails: "documents",
    because: /services\/reporting\/src\/main\.ts: has no const name = "reporting"/,
    plant: {
      "services/reporting/src/main.ts": (text) => (text ?? "").replace('name = "reporting"', 'name = "scheduling"'),
    },
  },
  {
    what: "a link that leads nowhere",
    fails: "documents",
    because: /README\.md: links to planted\.md, which is not there/,
    plant: { "README.md": appends("[planted](planted.md)") },
  },
  {
    what: "a page that names a test which is not there",
    fails: "documents",
    because: /docs\/pitfalls\.md: no test has this title and number: 31 .*planted/,
    plant: { "docs/pitfalls.md": (text) => (text ?? "").replace("it resolves only after the", "planted the") },
  },
  {
    what: "a test that its page does not name",
    fails: "documents",
    because: /this test is not named under that pitfall: 31 .*planted/,
    plant: unitTest("planted.test.ts", 'test("planted (pitfall 31)", () => {\n  expect(1).toBe(1);\n});\n'),
  },
  ...(
    [
      {
        what: "a field that Kubernetes does not know",
        file: "services/scheduling.yaml",
        replace: ["cooldownPeriod: 300", "planted: 300"],
        because: /ScaledObject scheduling: .*'"planted"' does not exist in type/,
      },
      {
        what: "a value of the wrong type",
        file: "services/score-display.yaml",
        replace: ["maxUnavailable: 1", "maxUnavailable: [planted]"],
        because: /PodDisruptionBudget score-display: Type 'string\[\]' is not assignable/,
      },
      {
        what: "a kind that Kubernetes does not know",
        file: "services/score-producer.yaml",
        replace: ["policy/v1", "policy/planted"],
        because: /knows no policy\/planted PodDisruptionBudget/,
      },
      {
        what: "a field that RabbitMQ's operator does not know",
        file: "broker/cluster.yaml",
        replace: ["  persistence:", "  planted: 1\n  persistence:"],
        because: /RabbitmqCluster broker: .*Unrecognized key: "planted"/,
      },
      {
        what: "a container that may write to its disk",
        file: "services/add-patient-api.yaml",
        replace: ["readOnlyRootFilesystem: true", "readOnlyRootFilesystem: false"],
        because: /Deployment add-patient-api: .*expected true\s.*readOnlyRootFilesystem/,
      },
      {
        what: "more of kustomize than is known here",
        file: "kustomization.yaml",
        replace: ["resources:", "planted: 1\nresources:"],
        because: /kustomization\.yaml: .*Unrecognized key: "planted"/,
      },
      {
        what: "a manifest that nobody uses",
        file: "planted.yaml",
        because: /planted\.yaml: is in no resources of kustomization\.yaml/,
      },
      {
        what: "a setting that no service has",
        file: "services/patient-registry.yaml",
        replace: ["name: HOST,", "name: PLANTED,"],
        because: /patient-registry\.yaml: packages\/service-kit\/README\.md knows no setting PLANTED/,
      },
      {
        what: "a policy that selects nobody",
        file: "network-policies.yaml",
        replace: ["amqp-idioms/database:", "amqp-idioms/planted:"],
        because: /selects no pod: {"amqp-idioms\/planted":"true"}/,
      },
      {
        what: "a subscriber that is scaled by another's queue",
        file: "services/reporting.yaml",
        replace: ["notify.patient.add.reporting", "notify.patient.add.scheduling"],
        because: /ScaledObject reporting: target, credentials and queue are not those of reporting/,
      },
      {
        what: "a dead queue that no policy keeps",
        file: "broker/policies.yaml",
        replace: ["reporting", "planted"],
        because: /no policy is for notify\.patient\.add\.reporting\.dead/,
      },
      {
        what: "a service that may do more on the broker than is documented",
        file: "broker/users.yaml",
        replace: ["^(add_patient|api|get_patient)$", "^(add_patient|planted|get_patient)$"],
        because: /add-patient-api may write \^\(add_patient\|planted/,
      },
    ] satisfies { what: string; file: string; replace?: [string, string]; because: RegExp }[]
  ).map(({ what, file, because, ...planted }): Violation => {
    const [text, instead] = planted.replace ?? [];
    return {
      what,
      fails: "manifests",
      because,
      plant: { [`deploy/k8s/${file}`]: (before) => (before ?? "").replace(text ?? "", () => instead ?? "") },
    };
  }),
  {
    what: "a public declaration that the committed ones do not have",
    fails: "api",
    because: /api\/index\.d\.ts: the public API has changed/,
    plant: { "packages/amqp-kit/src/index.ts": appends("export const planted = 1;") },
  },
  {
    what: "a workflow that calls a script that does not exist",
    fails: "repository",
    because: /ci\.yml: package\.json has no script planted/,
    plant: { ".github/workflows/ci.yml": (text) => (text ?? "").replace("npm run check", "npm run planted") },
  },
  {
    what: "a published package with another repository than the root's",
    fails: "repository",
    because: /packages\/outbox\/package\.json: repository is not/,
    plant: { "packages/outbox/package.json": (text) => (text ?? "").replace("amqp-idioms.git", "planted.git") },
  },
  {
    what: "a subscriber that the broker's definitions do not know",
    fails: "definitions",
    because: /packages\/contracts\/definitions\.json: is not what system\.ts says any more/,
    plant: {
      "packages/contracts/src/system.ts": (text) =>
        (text ?? "").replace("  reporting:", "  planted: { subscribes: [patientAdded] },\n  reporting:"),
    },
  },
  {
    what: "a page that shows other rights than those of the definitions",
    fails: "definitions",
    because: /docs\/security\.md: is not what system\.ts says any more/,
    plant: {
      "docs/security.md": (text) =>
        (text ?? "").replace("set_permissions score-producer '^score_updates$'", "set_permissions score-producer '.*'"),
    },
  },
];

const copy = mkdtempSync(join(tmpdir(), "amqp-idioms-planted-"));
process.on("exit", () => rmSync(copy, { recursive: true, force: true }));
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.once(signal, () => process.exit(130));
}

copyRepository();
let passed = 0;
let failed = 0;
for (const name of Object.keys(checks) as CheckName[]) {
  const { exitCode, output } = await runIn(name);
  report(`${name} passes where nothing is planted`, exitCode === 0, output);
}
const numbered = violations.map((violation, index) => renamed(violation, `planted${index + 1}`));
for (const [fails, group] of Map.groupBy(numbered, (violation) => violation.fails)) {
  const restores = group.map(plantIn);
  const { exitCode, output } = await runIn(fails);
  const missed = group.filter((violation) => exitCode === 0 || !isFound(violation, output));
  for (const violation of group) {
    const isGood = !missed.includes(violation);
    report(`${nameOf(fails)} finds ${violation.what}`, isGood, `exit code ${exitCode}, expected ${violation.because}`);
  }
  if (missed.length > 0) console.log(`\n${output.trim()}\n`);
  restores.toReversed().forEach((restore) => restore());
}
console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;

/** All files that git knows or would add, with an installation of their own: pnpm may change it, as a manifest changes. */
function copyRepository(): void {
  const files = execFileSync("git", ["ls-files", "--cached", "--others", "--exclude-standard"], { encoding: "utf8" });
  for (const file of files.split("\n").filter((path) => path !== "" && existsSync(path))) {
    cpSync(file, join(copy, file));
  }
  execFileSync("pnpm", ["install", "--frozen-lockfile", "--prefer-offline", "--reporter=silent"], {
    cwd: copy,
    stdio: "inherit",
  });
}

function renamed({ because, plant, ...rest }: Violation, name: string): Violation {
  // Those of other violations in the same file have their number already
  const named = (text: string): string => text.replaceAll(/planted(?!\d)/g, name);
  const edits = Object.entries(plant).map(
    ([path, edit]) => [named(path), (text: string | null) => named(edit(text))] as const,
  );
  return { ...rest, because: new RegExp(named(because.source), because.flags), plant: Object.fromEntries(edits) };
}

function isFound({ fails, because, plant }: Violation, output: string): boolean {
  if (fails !== "lint") return because.test(output);
  const errors = output.split(/\n(?=\S*\s+[x×] )/);
  return errors.some((error) => because.test(error) && Object.keys(plant).some((path) => error.includes(`[${path}:`)));
}

function nameOf(check: Violation["fails"]): string {
  return typeof check === "string" ? check : "npm test";
}

function plantIn({ plant }: Violation): () => void {
  const before = Object.keys(plant).map((path): [string, string | null] => {
    const file = join(copy, path);
    return [file, existsSync(file) ? readFileSync(file, "utf8") : null];
  });
  for (const [path, edit] of Object.entries(plant)) {
    const file = join(copy, path);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, edit(existsSync(file) ? readFileSync(file, "utf8") : null));
  }
  return () => before.forEach(([file, text]) => (text === null ? rmSync(file) : writeFileSync(file, text)));
}

function runIn(check: Violation["fails"]): Promise<{ exitCode: number; output: string }> {
  return typeof check === "string"
    ? runCommand(checks[check], { cwd: copy })
    : runCommand(["vitest", "run", "test/unit/", "--no-color"], { cwd: join(copy, check.testsOf) });
}

function report(name: string, isGood: boolean, output: string): void {
  console.log(`${isGood ? "passed" : "FAILED"}  ${name}`);
  if (isGood) {
    passed += 1;
  } else {
    failed += 1;
    console.log(`\n${output.trim()}\n`);
  }
}
