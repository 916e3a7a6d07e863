import { expect } from "vitest";
import { z } from "zod";
import { test as base } from "../running.ts";

/** The service, started once for this file. */
const test = base.extend("api", { scope: "file" }, async ({ startServiceOfFile }) =>
  startServiceOfFile("add-patient-api"),
);

/** The parts of the document that are checked here. */
const OpenApi = z.object({
  openapi: z.string(),
  paths: z.record(
    z.string(),
    z.record(
      z.string(),
      z.object({ responses: z.record(z.string(), z.unknown()), parameters: z.array(z.unknown()).optional() }),
    ),
  ),
  components: z.object({ schemas: z.record(z.string(), z.object({ required: z.array(z.string()).optional() })) }),
});

test("/openapi.json describes both operations and their problems", async ({ api }) => {
  const document = OpenApi.parse(await (await fetch(`${api.url}/openapi.json`)).json());
  expect(document.openapi).toBe("3.1.0");
  expect(Object.keys(document.paths)).toEqual(["/patients", "/patients/{patientId}"]);
  const add = document.paths["/patients"]?.["post"];
  expect(Object.keys(add?.responses ?? {})).toEqual(["201", "400", "413", "415", "422", "429", "502", "503", "504"]);
  const find = document.paths["/patients/{patientId}"]?.["get"];
  expect(Object.keys(find?.responses ?? {})).toEqual(["200", "404", "429", "502", "503", "504"]);
  expect(add?.parameters).toEqual([expect.objectContaining({ in: "header", name: "idempotency-key" })]);
  const { schemas } = document.components;
  expect(Object.keys(schemas)).toEqual(expect.arrayContaining(["NewPatientInput", "Patient", "Problem"]));
  expect(Object.keys(schemas)).not.toContain("ScoreUpdate");
  expect(schemas["NewPatientInput"]?.required).toEqual(["given", "surname"]);
  const refs = JSON.stringify(document.paths).match(/#\/components\/schemas\/\w+/g) ?? [];
  expect(refs.filter((ref) => !(ref.slice(21) in schemas))).toEqual([]);
});

test("The page runs no foreign script and shows input as text", async ({ api }) => {
  const page = await fetch(api.url);
  const policy = page.headers.get("content-security-policy") ?? "";
  expect(policy).toContain("default-src 'none'");
  expect(policy).toContain("script-src 'self'");
  expect(policy).not.toContain("unsafe");
  expect(page.headers.get("x-content-type-options")).toBe("nosniff");
  const html = await page.text();
  const links = [...html.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, link = ""]) => link);
  expect(links).toEqual(["data:,", "/page.css", "/page.js", "/openapi.json"]);
  expect(html).not.toMatch(/<script(?! type="module" src)|\son\w+=|<style/);
  const script = await fetch(`${api.url}/page.js`);
  expect(script.headers.get("content-type")).toContain("text/javascript");
  expect(await script.text()).not.toMatch(/innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(/);
  expect((await fetch(`${api.url}/page.css`)).status).toBe(200);
});
