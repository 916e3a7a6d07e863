/**
 * Checks the manifests in deploy/k8s without a cluster or a network, as part of `npm run check`. Reads the files that kustomization.yaml
 * names, and compares each resource with its schema, with the rules for all services, with the other manifests and with the sources.
 */
import { existsSync, globSync, mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { parseAllDocuments } from "yaml";
import { z } from "zod";
import {
  Kustomization,
  Pods,
  rabbitMqKinds,
  ScaledObject,
  Selecting,
  ServiceDeployment,
} from "./kubernetes-schemas.ts";
import { runCommand } from "./run-command.ts";

const isWriting = process.argv.includes("--write");
const folder = "deploy/k8s";
const Resource = z.looseObject({
  apiVersion: z.string(),
  kind: z.string(),
  metadata: z.looseObject({ name: z.string() }),
});

interface Manifest {
  file: string;
  /** `Deployment scheduling` */
  title: string;
  kind: string;
  name: string;
  resource: z.output<typeof Resource>;
}

const faults: string[] = [];
const kustomization = readKustomization();
const manifests = kustomization?.resources.flatMap((file) => readManifests(join(folder, file))) ?? [];
const services = globSync("services/*").map((service) => basename(service));
const pods = manifestsOf("Deployment").flatMap(({ resource }) => Pods.safeParse(resource).data?.spec.template ?? []);
checkRabbitMq();
await checkKubernetes();
if (kustomization !== undefined) checkFiles(kustomization);
services.forEach(checkService);
checkSelectors();
checkScaling();
checkPermissions();
for (const fault of faults) console.log(fault);
process.exitCode = faults.length === 0 ? 0 : 1;

function readKustomization(): z.output<typeof Kustomization> | undefined {
  const file = `${folder}/kustomization.yaml`;
  const [document] = parseAllDocuments(readFileSync(file, "utf8"));
  const result = Kustomization.safeParse(document?.toJS());
  if (!result.success)
    faults.push(
      `${file}: has fields that scripts/kubernetes-schemas.ts does not know: ${z.prettifyError(result.error)}`,
    );
  return result.data ?? Kustomization.loose().safeParse(document?.toJS()).data;
}

function readManifests(file: string): Manifest[] {
  if (!existsSync(file)) {
    faults.push(`${folder}/kustomization.yaml: names ${file}, which does not exist`);
    return [];
  }
  return parseAllDocuments(readFileSync(file, "utf8")).flatMap((document): Manifest[] => {
    for (const error of document.errors) faults.push(`${file}: ${error.message}`);
    const result = Resource.safeParse(document.toJS());
    if (!result.success) {
      faults.push(`${file}: contains a document that is no resource: ${z.prettifyError(result.error)}`);
      return [];
    }
    const { kind, metadata } = result.data;
    return [{ file, title: `${kind} ${metadata.name}`, kind, name: metadata.name, resource: result.data }];
  });
}

function manifestsOf(kind: string): Manifest[] {
  return manifests.filter((manifest) => manifest.kind === kind);
}

function parsed<T extends z.ZodType>({ file, title, resource }: Manifest, schema: T): z.output<T> | undefined {
  const result = schema.safeParse(resource);
  if (result.success) return result.data;
  faults.push(`${file}: ${title}: ${z.prettifyError(result.error)}`);
  return undefined;
}

/** Each file is used, each resource exists once, and each image is named in kustomization.yaml. */
function checkFiles({ resources, images }: z.output<typeof Kustomization>): void {
  const used = new Set(["kustomization.yaml", ...resources].map((file) => join(folder, file)));
  for (const file of globSync(`${folder}/**/*.{yaml,yml}`)) {
    if (!used.has(file)) faults.push(`${file}: is in no resources of kustomization.yaml`);
  }
  for (const [title, alike] of Map.groupBy(manifests, ({ title }) => title)) {
    if (alike.length > 1)
      faults.push(`${alike.map(({ file }) => file).join(", ")}: ${title} exists ${alike.length} times`);
  }
  for (const { file, title, kind } of manifests) {
    if (kind === "Secret")
      faults.push(`${file}: ${title}: secrets are created on the cluster, never in this repository`);
  }
  const wanted = pods.flatMap(({ spec }) => spec.containers.map(({ image }) => image));
  const known = images.map(({ name }) => name);
  const file = `${folder}/kustomization.yaml`;
  for (const image of wanted.filter((image) => !known.includes(image)))
    faults.push(`${file}: images does not name ${image}`);
  for (const image of known.filter((image) => !wanted.includes(image))) {
    faults.push(`${file}: images names ${image}, which no Deployment uses`);
  }
}

function checkRabbitMq(): void {
  const { RabbitmqCluster, User, Permission, Policy } = rabbitMqKinds;
  const schema = z.discriminatedUnion("kind", [RabbitmqCluster, User, Permission, Policy]);
  for (const manifest of manifests.filter(isRabbitMq)) parsed(manifest, schema);
}

function isRabbitMq({ resource }: Manifest): boolean {
  return resource.apiVersion.startsWith("rabbitmq.com/");
}

/** A service has one complete file, with its own port, settings and Secret. */
function checkService(service: string): void {
  const file = `${folder}/services/${service}.yaml`;
  const report = (what: string): unknown => faults.push(`${file}: ${what}`);
  for (const kind of ["Deployment", "PodDisruptionBudget"]) {
    const isThere = manifestsOf(kind).some((manifest) => manifest.file === file && manifest.name === service);
    if (!isThere) report(`has no ${kind} ${service}`);
  }
  const manifest = manifestsOf("Deployment").find(({ name }) => name === service);
  const deployment = manifest && parsed(manifest, ServiceDeployment);
  if (deployment === undefined) return;
  const { containers, volumes } = deployment.spec.template.spec;
  const [{ image, ports, env, volumeMounts }] = containers;
  const [{ secret }] = volumes;
  const settings = new Map(env.map(({ name, value }) => [name, value]));
  const settingsPage = "packages/service-kit/README.md";
  const knownSettings = readFileSync(settingsPage, "utf8");
  const main = readFileSync(`services/${service}/src/main.ts`, "utf8");

  if (image !== `amqp-idioms/${service}`) report(`the image is ${image}, not amqp-idioms/${service}`);
  const port = /\bport: (\d+)/.exec(main)?.[1];
  if (port !== String(ports[0].containerPort) || settings.get("PORT") !== port) {
    report(`port, PORT and services/${service}/src/main.ts (${port}) are not the same`);
  }
  for (const name of settings.keys()) {
    if (!knownSettings.includes(`\`${name}\``)) report(`${settingsPage} knows no setting ${name}`);
  }
  if (secret.secretName !== service) report(`mounts the Secret ${secret.secretName}, not its own`);
  const wanted = {
    AMQP_URL_FILE: "amqp-url",
    ...(main.includes("databaseSettings(") && { DATABASE_URL_FILE: "database-url" }),
  };
  const mounted = secret.items.map(({ path }) => path).join(", ");
  if (mounted !== Object.values(wanted).join(", "))
    report(`mounts ${mounted}, but needs ${Object.values(wanted).join(", ")}`);
  for (const [name, path] of Object.entries(wanted)) {
    const expected = `${volumeMounts[0].mountPath}/${path}`;
    if (settings.get(name) !== expected)
      report(`${name} is ${settings.get(name)}, but the Secret is mounted as ${expected}`);
  }
}

/** Every cluster accepts a Service, a budget or a policy that selects no pod. It does nothing then. */
function checkSelectors(): void {
  for (const manifest of ["Service", "PodDisruptionBudget", "Deployment"].flatMap(manifestsOf)) {
    const labels = parsed(manifest, Selecting)?.spec.selector;
    if (labels !== undefined && (!selectsPods(labels) || labels["app.kubernetes.io/name"] !== manifest.name)) {
      faults.push(`${manifest.file}: ${manifest.title}: selects no pod of ${manifest.name}`);
    }
  }
  for (const { file, title, resource } of manifestsOf("NetworkPolicy")) {
    for (const labels of ourPodSelectors(resource)) {
      if (!selectsPods(labels)) faults.push(`${file}: ${title}: selects no pod: ${JSON.stringify(labels)}`);
    }
  }
}

/** The broker's operator creates the broker's pods, with the cluster's name. */
function selectsPods(labels: Record<string, string>): boolean {
  const known = [...pods.map(({ metadata }) => metadata.labels), { "app.kubernetes.io/name": "broker" }];
  return known.some((pod) => isDeepStrictEqual({ ...pod, ...labels }, pod));
}

/** The matchLabels of all nested podSelectors, except for those of other namespaces. */
function ourPodSelectors(value: unknown): Record<string, string>[] {
  if (typeof value !== "object" || value === null || "namespaceSelector" in value) return [];
  const found = z.object({ podSelector: z.object({ matchLabels: z.record(z.string(), z.string()) }) }).safeParse(value);
  const here = found.success ? [found.data.podSelector.matchLabels] : [];
  return [...here, ...Object.values(value).flatMap(ourPodSelectors)];
}

/** Each subscriber is scaled by its own queue, and a policy keeps its dead letters. */
function checkScaling(): void {
  const system = readFileSync("packages/contracts/src/system.ts", "utf8");
  const subscribers = services.filter((service) => new RegExp(`\\b"?${service}"?: \\{[^}]*subscribes:`).test(system));
  const scaled = manifestsOf("ScaledObject").flatMap((manifest) => {
    const { metadata, spec } = parsed(manifest, ScaledObject) ?? {};
    if (metadata === undefined || spec === undefined) return [];
    const { file, title, name } = manifest;
    const [{ metadata: trigger, authenticationRef }] = spec.triggers;
    const isItsOwn =
      spec.scaleTargetRef.name === name &&
      authenticationRef.name === name &&
      trigger.queueName === `notify.patient.add.${name}`;
    if (!isItsOwn) faults.push(`${file}: ${title}: target, credentials and queue are not those of ${name}`);
    if (!manifestsOf("TriggerAuthentication").some((one) => one.name === name))
      faults.push(`${file}: has no TriggerAuthentication ${name}`);
    return [name];
  });
  for (const service of subscribers.filter((service) => !scaled.includes(service))) {
    faults.push(`${folder}/services/${service}.yaml: has no ScaledObject, but ${service} subscribes`);
  }
  const patterns = manifestsOf("Policy").flatMap(
    ({ resource }) => rabbitMqKinds.Policy.safeParse(resource).data?.spec.pattern ?? [],
  );
  for (const service of subscribers) {
    const queue = `notify.patient.add.${service}.dead`;
    if (!patterns.some((pattern) => new RegExp(pattern).test(queue))) {
      faults.push(`${folder}/broker/policies.yaml: no policy is for ${queue}`);
    }
  }
}

/** The broker permissions are those in docs/security.md, which the tests try. `--write` copies them from there. */
function checkPermissions(): void {
  const file = `${folder}/broker/users.yaml`;
  const lines = readFileSync("docs/security.md", "utf8").matchAll(
    /^rabbitmqctl set_permissions (\S+) '(.+)' '(.+)' '(.+)'$/gm,
  );
  const listed = new Map([...lines].map(([, user = "", configure, write, read]) => [user, { configure, write, read }]));
  let text = readFileSync(file, "utf8");
  for (const service of services) {
    if (!manifestsOf("User").some(({ name }) => name === service)) faults.push(`${file}: has no User ${service}`);
    for (const right of ["configure", "write", "read"] as const) {
      const rule = new RegExp(`(userReference: \\{ name: ${service} \\}[^]*?\\b${right}: )(.*)`);
      const [found, expected] = [rule.exec(text)?.[2], listed.get(service)?.[right]];
      if (isWriting) text = text.replace(rule, (_, before) => `${before}${expected}`);
      else if (found === undefined || found !== expected) {
        faults.push(`${file}: ${service} may ${right} ${found}, but docs/security.md says ${expected}`);
      }
    }
  }
  if (isWriting) writeFileSync(file, text);
}

/**
 * Compiles each resource against the types that `kubernetes-models` derives from the schemas of Kubernetes and KEDA. The compiler refuses
 * an unknown field, as a cluster does; a validator of JSON Schema does not.
 */
async function checkKubernetes(): Promise<void> {
  const checked = manifests.filter((manifest) => !isRabbitMq(manifest));
  const lines: string[] = [];
  const startsAt: { line: number; manifest: Manifest }[] = [];
  for (const [index, manifest] of checked.entries()) {
    const { apiVersion, kind } = manifest.resource;
    const from = apiVersion.startsWith("keda.sh/") ? "@kubernetes-models/keda" : "kubernetes-models";
    const path = join(realpathSync(join("node_modules", from)), apiVersion, kind);
    if (!existsSync(`${path}.d.ts`)) {
      faults.push(`${manifest.file}: ${manifest.title}: ${from} knows no ${apiVersion} ${kind}`);
      continue;
    }
    startsAt.push({ line: lines.length + 1, manifest });
    lines.push(`import type { I${kind} as Schema${index} } from ${JSON.stringify(`${path}.js`)};`);
    lines.push(
      ...`export const resource${index}: Schema${index} = ${JSON.stringify(manifest.resource, null, 1)};`.split("\n"),
    );
  }
  const scratch = mkdtempSync(join(tmpdir(), "amqp-idioms-manifests-"));
  try {
    writeFileSync(join(scratch, "manifests.ts"), lines.join("\n"));
    // Without skipLibCheck: with it, a type that cannot be found would accept everything
    const compilerOptions = { noEmit: true, strict: true, module: "nodenext", target: "es2024", types: [] };
    writeFileSync(join(scratch, "tsconfig.json"), JSON.stringify({ compilerOptions, files: ["manifests.ts"] }));
    const { exitCode, output } = await runCommand(["tsc", "-p", "."], { cwd: scratch });
    const errors = [...output.matchAll(/manifests\.ts\((\d+),\d+\): error TS\d+: (.+)/g)];
    for (const [, line, what] of errors) {
      const at = startsAt.findLast((start) => start.line <= Number(line))?.manifest;
      faults.push(`${at?.file}: ${at?.title}: ${what} (at ${lines[Number(line) - 1]?.trim()})`);
    }
    if (exitCode !== 0 && errors.length === 0) faults.push(`${folder}: the compiler failed:\n${output}`);
  } finally {
    rmSync(scratch, { recursive: true });
  }
}
