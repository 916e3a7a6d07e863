/** The violations that `scripts/planted.ts` plants: one per rule that this repository sets itself. */
import type { CheckName } from "./checks.ts";

export interface Violation {
  /** a check of `npm run check`, or `tests`: the unit tests of `packages/contracts` */
  fails: CheckName | "tests";
  what: string;
  /** What the check must print. lint must print it about a planted file. */
  because: RegExp;
  /**
   * Path to an edit of the file's text; null is a file that does not exist yet.
   * "planted" in paths, texts and reasons is replaced by a name of this violation's own.
   */
  plant: Record<string, (text: string | null) => string>;
}

type Planted = Violation["plant"];

function file(path: string, text: string): Planted {
  return { [path]: () => text };
}

function append(path: string, text: string): Planted {
  return edit(path, /$/, `\n${text}\n`);
}

function edit(path: string, find: string | RegExp, replacement: string): Planted {
  return {
    [path]: (before) => {
      const after = before?.replace(find, () => replacement);
      if (after === undefined) throw new Error(`${path} does not exist: the file was moved`);
      if (after === before) throw new Error(`${path} does not contain ${find}`);
      return after;
    },
  };
}

function imports(path: string, specifier: string): Planted {
  const text = `import ${JSON.stringify(specifier)};`;
  return path.includes("planted") ? file(path, `${text}\n`) : append(path, text);
}

const contractTest = (text: string): Planted =>
  file("packages/contracts/test/unit/planted.test.ts", `import { expect, test } from "vitest";\n\n${text}\n`);

/** Who may not import what: a file, a specifier, and the rule's message. */
const imported: [path: string, specifier: string, because: RegExp][] = [
  ["services/reporting/src/planted.ts", "amqplib", /No service knows amqplib/],
  ["services/reporting/src/planted.ts", "@amqp-idioms/scheduling", /no other service/],
  ["services/reporting/test/planted.ts", "@amqp-idioms/scheduling", /tests import no other service/],
  ["demo/src/planted.ts", "amqplib", /Only packages\/amqp-kit knows amqplib/],
  ["demo/src/planted.ts", "@amqp-idioms/chaos", /nothing uses them/],
  ["packages/contracts/src/planted.ts", "amqp-kit", /A contract is data/],
  ["packages/contracts/src/planted.ts", "@amqp-idioms/service-kit", /Contracts are at the bottom/],
  ["packages/outbox/src/planted.ts", "amqp-kit", /stand alone/],
  ["packages/service-kit/test/planted.ts", "@amqp-idioms/outbox", /so do their tests/],
  ["packages/local-servers/src/processes/planted.ts", "../faults/proxy.ts", /lowest room/],
  ["packages/local-servers/src/faults/planted.ts", "../rabbitmq/management.ts", /faults imports processes only/],
  ["packages/local-servers/src/rabbitmq/planted.ts", "../postgres/start.ts", /rabbitmq imports processes and faults/],
  ["packages/local-servers/src/postgres/planted.ts", "../vitest/closing.ts", /postgres imports processes and faults/],
  ["packages/amqp-kit/src/broadcast/sender.ts", "@amqp-idioms/contracts", /outside this repository/],
  ["packages/amqp-kit/test/planted.ts", "@amqp-idioms/contracts", /neither do its tests/],
  ["packages/amqp-kit/src/broadcast/planted.ts", "../notify/notifier.ts", /No idiom imports another/],
  ["packages/amqp-kit/src/notify/planted.ts", "../broadcast/sender.ts", /No idiom imports another/],
  ["packages/amqp-kit/src/request-response/planted.ts", "../notify/notifier.ts", /No idiom imports another/],
  ["packages/amqp-kit/src/notify/planted.ts", "../session.ts", /in the kit go down only/],
  ["packages/amqp-kit/src/broker/planted.ts", "../session.ts", /in the kit go down only/],
  ["packages/amqp-kit/src/broker/planted.ts", "../notify/notifier.ts", /knows no idiom/],
  ["packages/amqp-kit/src/broker/topology.ts", "amqplib", /only value import of amqplib/],
  ["packages/amqp-kit/src/broker/dial.ts", "../messages/encode.ts", /in the kit go down only/],
  ["packages/amqp-kit/src/messages/planted.ts", "../broker/publisher.ts", /messages know neither/],
  ["packages/amqp-kit/src/dead-letters/planted.ts", "../session.ts", /not the idioms/],
  ["packages/amqp-kit/src/session.ts", "./dead-letters/cli.ts", /nothing imports dead-letters/],
  ["packages/amqp-kit/src/errors.ts", "./broker/connection.ts", /bottom of the kit/],
  ["packages/amqp-kit/src/contract.ts", "amqplib", /A contract is data/],
  ["packages/amqp-kit/src/contract.ts", "node:fs", /neither amqplib nor I\/O/],
  ["packages/amqp-kit/src/derive/permissions.ts", "../broker/topology.ts", /neither amqplib nor I\/O/],
  ["packages/amqp-kit/test/peers/planted.ts", "amqp-kit", /A peer speaks the wire/],
  ["bench/src/bare.ts", "amqp-kit", /It speaks the wire/],
];

/** Manifests of deploy/k8s: what, the reason, the file, and what is replaced in it. */
const manifests: [what: string, because: RegExp, path: string, find: string, replacement: string][] = [
  [
    "a field that Kubernetes does not know",
    /ScaledObject scheduling: .*'"planted"' does not exist in type/,
    "services/scheduling.yaml",
    "cooldownPeriod: 300",
    "planted: 300",
  ],
  [
    "a value of the wrong type",
    /PodDisruptionBudget score-display: Type 'string\[\]' is not assignable/,
    "services/score-display.yaml",
    "maxUnavailable: 1",
    "maxUnavailable: [planted]",
  ],
  [
    "a kind that Kubernetes does not know",
    /knows no policy\/planted PodDisruptionBudget/,
    "services/score-producer.yaml",
    "policy/v1",
    "policy/planted",
  ],
  [
    "a field that RabbitMQ's operator does not know",
    /RabbitmqCluster broker: .*Unrecognized key: "planted"/,
    "broker/cluster.yaml",
    "  persistence:",
    "  planted: 1\n  persistence:",
  ],
  [
    "a container that may write to its disk",
    /Deployment add-patient-api: .*expected true\s.*readOnlyRootFilesystem/,
    "services/add-patient-api.yaml",
    "readOnlyRootFilesystem: true",
    "readOnlyRootFilesystem: false",
  ],
  [
    "a field of kustomization.yaml that the schema does not have",
    /kustomization\.yaml: .*Unrecognized key: "planted"/,
    "kustomization.yaml",
    "resources:",
    "planted: 1\nresources:",
  ],
  [
    "a setting that no service has",
    /patient-registry\.yaml: .*knows no setting PLANTED/,
    "services/patient-registry.yaml",
    "name: HOST,",
    "name: PLANTED,",
  ],
  [
    "a policy that selects nobody",
    /selects no pod: {"amqp-idioms\/planted":"true"}/,
    "network-policies.yaml",
    "amqp-idioms/database:",
    "amqp-idioms/planted:",
  ],
  [
    "a subscriber that is scaled by another's queue",
    /ScaledObject reporting: target, credentials and queue are not those of reporting/,
    "services/reporting.yaml",
    "notify.patient.add.reporting",
    "notify.patient.add.scheduling",
  ],
  [
    "a dead queue that no policy keeps",
    /no policy is for notify\.patient\.add\.reporting\.dead/,
    "broker/policies.yaml",
    "reporting",
    "planted",
  ],
  [
    "a service that may do more on the broker than is documented",
    /add-patient-api may write \^\(add_patient\|planted/,
    "broker/users.yaml",
    "^(add_patient|api|get_patient)$",
    "^(add_patient|planted|get_patient)$",
  ],
];

export const violations: Violation[] = [
  {
    fails: "format",
    what: "a file in another format",
    because: /planted\.ts/,
    plant: file("services/reporting/src/planted.ts", "export  const planted=1\n"),
  },
  {
    // Type-aware rules are silently off without tsgolint, and where a workspace cannot see another's types
    fails: "lint",
    what: "a floating promise of another workspace, beside a configuration of its own",
    because: /no-floating-promises/,
    plant: {
      ...file(
        "services/reporting/src/planted.ts",
        'import { connect } from "amqp-kit";\n\nexport const planted = (...all: Parameters<typeof connect>): void => {\n  connect(...all);\n};\n',
      ),
      ...file("services/reporting/.oxlintrc.json", "{}\n"),
    },
  },
  {
    fails: "lint",
    what: "a cycle of type imports",
    because: /no-cycle/,
    plant: {
      ...file(
        "services/reporting/src/planted.ts",
        'import type { B } from "./planted-b.ts";\nexport type A = B | 1;\n',
      ),
      ...file(
        "services/reporting/src/planted-b.ts",
        'import type { A } from "./planted.ts";\nexport type B = { a: A };\n',
      ),
    },
  },
  ...imported.map(([path, specifier, because]): Violation => ({
    fails: "lint",
    what: `${path} that imports ${specifier}`,
    because,
    plant: imports(path, specifier),
  })),
  {
    fails: "boundaries",
    what: "a service that imports another by path",
    because: /leaves the package/,
    plant: imports("services/reporting/src/planted.ts", "../../scheduling/src/main.ts"),
  },
  {
    fails: "boundaries",
    what: "a service that declares another",
    because: /without any tag listed/,
    plant: {
      ...edit(
        "services/reporting/package.json",
        '"@amqp-idioms/contracts"',
        '"@amqp-idioms/scheduling": "workspace:*",\n    "@amqp-idioms/contracts"',
      ),
      ...imports("services/reporting/src/planted.ts", "@amqp-idioms/scheduling"),
    },
  },
  {
    fails: "boundaries",
    what: "a service that imports what it does not declare",
    because: /cannot import package `knip`/,
    plant: imports("services/reporting/src/planted.ts", "knip"),
  },
  {
    fails: "types",
    what: "a type test that is wrong",
    because: /planted\.test-d\.ts/,
    plant: file(
      "packages/contracts/test/unit/planted.test-d.ts",
      'import { expectTypeOf } from "vitest";\n\nexpectTypeOf(1).toEqualTypeOf<string>();\n',
    ),
  },
  {
    fails: "types",
    what: "an enum, which Node.js cannot run, in a script",
    because: /scripts\/planted-enum\.ts.*TS1294/,
    plant: file("scripts/planted-enum.ts", "export enum Planted {\n  A,\n}\n"),
  },
  {
    fails: "tests",
    what: "a test whose assertions are not reached",
    because: /expected any number of assertion/,
    plant: contractTest('test("planted", () => {\n  if (Date.now() === 0) expect(1).toBe(1);\n});'),
  },
  // Both show that the lint rules for vitest are on
  {
    fails: "lint",
    what: "a test that runs alone",
    because: /no-focused-tests/,
    plant: contractTest('test.only("planted", () => {\n  expect(1).toBe(1);\n});'),
  },
  {
    fails: "lint",
    what: "a test without an assertion",
    because: /expect-expect/,
    plant: file(
      "packages/contracts/test/unit/planted.test.ts",
      'import { test } from "vitest";\n\ntest("planted", () => {});\n',
    ),
  },
  {
    fails: "unused",
    what: "a file that nothing imports",
    because: /Unused files[^]*planted\.ts/,
    plant: file("services/reporting/src/planted.ts", "export const planted = 1;\n"),
  },
  {
    fails: "documents",
    what: "a document that shows other code than its file's",
    because: /docs\/notify\.md: shows other code than its file/,
    plant: append("packages/contracts/src/patient-added.ts", "// planted"),
  },
  {
    fails: "documents",
    what: "a link that leads nowhere",
    because: /README\.md: links to planted\.md, which does not exist/,
    plant: append("README.md", "[planted](planted.md)"),
  },
  {
    fails: "documents",
    what: "a link to a heading that does not exist",
    because: /README\.md: links to docs\/operations\.md#planted, but docs\/operations\.md has no such heading/,
    plant: append("README.md", "[planted](docs/operations.md#planted)"),
  },
  {
    fails: "documents",
    what: "a copied service that keeps the other's name",
    because: /services\/reporting\/src\/main\.ts: must contain const name = "reporting"/,
    plant: edit("services/reporting/src/main.ts", 'name = "reporting"', 'name = "scheduling"'),
  },
  {
    fails: "documents",
    what: "a pitfall that links a file without a test of it",
    because: /docs\/pitfalls\.md: no test in this file has the pitfall's number: 31: .*planted/,
    plant: edit("docs/pitfalls.md", /(?<=^### 31\..*\n)/m, "\nTests: [planted](../planted.test.ts)\n"),
  },
  {
    fails: "documents",
    what: "a test with a pitfall's number whose file the pitfall does not link",
    because: /does not link this file under the pitfall .*: 31: .*planted/,
    plant: contractTest('test("planted (pitfall 31)", () => {\n  expect(1).toBe(1);\n});'),
  },
  {
    fails: "documents",
    what: "a pitfall without a test",
    because: /docs\/pitfalls\.md: pitfall 31 links neither a test/,
    plant: edit("docs/pitfalls.md", /(?<=^### )31\./m, "31. planted\n\n### 31."),
  },
  {
    fails: "documents",
    what: "a failure without a test",
    because: /docs\/when-things-go-wrong\.md: links no test under "planted"/,
    plant: append("docs/when-things-go-wrong.md", "## planted\n"),
  },
  {
    fails: "documents",
    what: "a log line that is not explained",
    because: /docs\/operations\.md: does not explain the log line of .*listener\.ts: planted here/,
    plant: append("packages/amqp-kit/src/broadcast/listener.ts", 'logger.warn("planted here");'),
  },
  ...manifests.map(([what, because, path, find, replacement]): Violation => ({
    fails: "manifests",
    what,
    because,
    plant: edit(`deploy/k8s/${path}`, find, replacement),
  })),
  {
    fails: "manifests",
    what: "a manifest that nothing uses",
    because: /planted\.yaml: is in no resources of kustomization\.yaml/,
    plant: file("deploy/k8s/planted.yaml", ""),
  },
  {
    fails: "api",
    what: "a public declaration that the committed ones do not have",
    because: /api\/index\.d\.ts: the public API has changed/,
    plant: append("packages/amqp-kit/src/index.ts", "export const planted = 1;"),
  },
  {
    fails: "repository",
    what: "a workflow that calls a script that does not exist",
    because: /ci\.yml: package\.json has no script planted/,
    plant: edit(".github/workflows/ci.yml", "npm run check", "npm run planted"),
  },
  {
    fails: "repository",
    what: "a published package with another repository than the root's",
    because: /packages\/outbox\/package\.json: repository is not/,
    plant: edit("packages/outbox/package.json", "amqp-idioms.git", "planted.git"),
  },
  {
    fails: "definitions",
    what: "a subscriber that the broker's definitions do not know",
    because: /packages\/contracts\/definitions\.json: differs from system\.ts/,
    plant: edit(
      "packages/contracts/src/system.ts",
      "  reporting:",
      "  planted: { subscribes: [patientAdded] },\n  reporting:",
    ),
  },
  {
    fails: "definitions",
    what: "a page that shows other permissions than the definitions",
    because: /docs\/security\.md: differs from system\.ts/,
    plant: edit(
      "docs/security.md",
      "set_permissions score-producer '^score_updates$'",
      "set_permissions score-producer '.*'",
    ),
  },
];
