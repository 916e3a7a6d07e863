/**
 * Schemas that no npm package has: of kustomization.yaml and of RabbitMQ's operators. They are strict and contain only what deploy/k8s
 * uses: a new field is refused until somebody has read its documentation and added it here.
 * Also the rules for all six services, beyond Kubernetes' own schemas.
 */
import { z } from "zod";

/** https://kubectl.docs.kubernetes.io/references/kustomize/kustomization/ */
export const Kustomization = z.strictObject({
  apiVersion: z.literal("kustomize.config.k8s.io/v1beta1"),
  kind: z.literal("Kustomization"),
  namespace: z.string(),
  resources: z.array(z.string()),
  images: z.array(z.strictObject({ name: z.string(), newName: z.string().optional(), newTag: z.string() })),
});

const quantity = z.string().regex(/^\d+(\.\d+)?(m|[KMGT]i?)?$/);
const resources = z.strictObject({ cpu: quantity.optional(), memory: quantity });
const named = z.strictObject({ name: z.string() });
const cluster = { rabbitmqClusterReference: named };

function rabbitMq<Spec extends z.ZodRawShape>(kind: string, spec: Spec) {
  return z.strictObject({
    apiVersion: z.literal("rabbitmq.com/v1beta1"),
    kind: z.literal(kind),
    metadata: named,
    spec: z.strictObject(spec),
  });
}

const spread = z.strictObject({
  topologyKey: z.string(),
  labelSelector: z.strictObject({ matchLabels: z.record(z.string(), z.string()) }),
});

/** https://www.rabbitmq.com/kubernetes/operator/using-operator and using-topology-operator, and the operators' CustomResourceDefinitions */
export const rabbitMqKinds = {
  RabbitmqCluster: rabbitMq("RabbitmqCluster", {
    replicas: z.int().min(1),
    image: z.string(),
    resources: z.strictObject({ requests: resources, limits: resources }),
    persistence: z.strictObject({ storage: quantity, storageClassName: z.string().optional() }),
    affinity: z.strictObject({
      podAntiAffinity: z.strictObject({ requiredDuringSchedulingIgnoredDuringExecution: z.array(spread) }),
    }),
    // rabbitmq.conf: a key and a value per line
    rabbitmq: z.strictObject({ additionalConfig: z.string().regex(/^([a-z_.0-9]+ = \S+\n)+$/) }),
  }),
  User: rabbitMq("User", { ...cluster, importCredentialsSecret: named }),
  Permission: rabbitMq("Permission", {
    ...cluster,
    userReference: named,
    vhost: z.string(),
    permissions: z.strictObject({ configure: z.string(), write: z.string(), read: z.string() }),
  }),
  Policy: rabbitMq("Policy", {
    ...cluster,
    name: z.string(),
    vhost: z.string(),
    pattern: z.string(),
    applyTo: z.enum(["queues", "exchanges", "all"]),
    definition: z.strictObject({ "delivery-limit": z.int() }),
    priority: z.int(),
  }),
};

const probe = (path: string) => z.object({ httpGet: z.object({ path: z.literal(path), port: z.literal("http") }) });

/** What each service's Deployment must contain. A second container is refused: no rule covers it. */
export const ServiceDeployment = z.object({
  spec: z.object({
    template: z.object({
      spec: z.object({
        automountServiceAccountToken: z.literal(false),
        terminationGracePeriodSeconds: z.literal(15),
        securityContext: z.object({
          runAsNonRoot: z.literal(true),
          runAsUser: z.int().min(1),
          seccompProfile: z.object({ type: z.literal("RuntimeDefault") }),
        }),
        containers: z.tuple([
          z.object({
            image: z.string(),
            ports: z.tuple([z.object({ name: z.literal("http"), containerPort: z.int() })]),
            // Plain values only: a reference would be a credential, and none of these settings is one
            env: z.array(z.strictObject({ name: z.string(), value: z.string() })),
            startupProbe: probe("/livez"),
            livenessProbe: probe("/livez"),
            readinessProbe: probe("/readyz"),
            resources: z.object({ requests: resources.required(), limits: z.strictObject({ memory: quantity }) }),
            securityContext: z.object({
              readOnlyRootFilesystem: z.literal(true),
              allowPrivilegeEscalation: z.literal(false),
              capabilities: z.object({ drop: z.tuple([z.literal("ALL")]) }),
            }),
            volumeMounts: z.tuple([z.object({ mountPath: z.string(), readOnly: z.literal(true) })]),
          }),
        ]),
        volumes: z.tuple([
          z.object({
            secret: z.object({
              secretName: z.string(),
              items: z.array(z.object({ key: z.string(), path: z.string() })),
            }),
          }),
        ]),
      }),
    }),
  }),
});

const labels = z.record(z.string(), z.string());

/** The pods of a Deployment. */
export const Pods = z.object({
  spec: z.object({
    template: z.object({
      metadata: z.object({ labels }),
      spec: z.object({ containers: z.array(z.object({ image: z.string() })) }),
    }),
  }),
});

/** The labels that a resource selects. A Service writes them without `matchLabels`. */
export const Selecting = z.object({
  spec: z.object({
    selector: z.union([z.strictObject({ matchLabels: labels }).transform(({ matchLabels }) => matchLabels), labels]),
  }),
});

export const ScaledObject = z.object({
  metadata: z.object({ name: z.string() }),
  spec: z.object({
    scaleTargetRef: z.object({ name: z.string() }),
    triggers: z.tuple([
      z.object({
        type: z.literal("rabbitmq"),
        metadata: z.strictObject({
          protocol: z.literal("amqp"),
          queueName: z.string(),
          mode: z.literal("QueueLength"),
          value: z.string().regex(/^\d+$/),
        }),
        authenticationRef: z.object({ name: z.string() }),
      }),
    ]),
  }),
});
