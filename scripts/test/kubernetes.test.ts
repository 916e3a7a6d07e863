import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, test } from "vitest";
import { parse, parseAllDocuments } from "yaml";
import { Kustomization } from "../kubernetes-schemas.ts";

const folder = join(import.meta.dirname, "../../deploy/k8s");

interface Resource {
  kind: string;
  metadata: { name: string; namespace?: string };
}

function read(text: string): Resource[] {
  return parseAllDocuments(text).map((document) => document.toJS());
}

function titles(resources: Resource[]): string[] {
  return resources.map(({ kind, metadata }) => `${kind} ${metadata.name}`).toSorted();
}

test("kubectl kustomize builds all resources of deploy/k8s, in one namespace and with the images of kustomization.yaml", async ({
  skip,
}) => {
  const built = await promisify(execFile)("kubectl", ["kustomize", folder]).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") skip("needs kubectl");
    throw error;
  });

  const { resources, images, namespace } = Kustomization.parse(
    parse(readFileSync(`${folder}/kustomization.yaml`, "utf8")),
  );
  const found = read(built.stdout);
  expect(titles(found)).toEqual(titles(resources.flatMap((file) => read(readFileSync(join(folder, file), "utf8")))));
  expect(new Set(found.map(({ metadata }) => metadata.namespace))).toEqual(new Set([namespace]));
  for (const { name, newName = name, newTag } of images)
    expect(built.stdout).toContain(`image: ${newName}:${newTag}\n`);
});
