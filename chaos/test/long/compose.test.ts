import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test, type TestContext } from "vitest";
import { monotonicMs } from "../../src/clock.ts";
import type { Evidence } from "../../src/judge/evidence.ts";
import * as patients from "../../src/judge/patients.ts";
import { Ledger } from "../../src/ledger.ts";
import { Patients } from "../../src/load/patients.ts";
import { Random } from "../../src/random.ts";
import { readTables } from "../../src/records.ts";
import { get, send } from "../../src/http.ts";
import { ComposeProject, type Container, docker, gitStatus, whyNoCompose } from "./compose-project.ts";

const services = ["score-producer", "score-display", "add-patient-api", "patient-registry", "scheduling", "reporting"];
const ourImages = ["setup", ...services];
/** Those that run on; the other two end by themselves */
const oneShots = ["setup", "grant"];
const gracePeriodMs = 15_000;
/** Each on a line, for Node.js in the setup container */
const readPasswords = `Object.values(JSON.parse(require("fs").readFileSync("/secrets/setup/passwords.json")))
  .flatMap((one) => (typeof one === "string" ? one : Object.values(one))).join("\\n")`;

const isAskedFor = process.env["COMPOSE"] === "yes";
const unavailableReason = isAskedFor
  ? await whyNoCompose()
  : "needs COMPOSE=yes, since it takes some minutes and most of the machine";

function skipUnlessPossible({ skip }: TestContext): void {
  if (unavailableReason !== undefined) skip(unavailableReason);
}

/** One after the other, on one system that was started from nothing. */
describe("docker compose", { timeout: 300_000 }, () => {
  let project: ComposeProject;

  beforeAll(async () => {
    if (unavailableReason !== undefined) return;
    // The ledger's client is one address
    project = await ComposeProject.create(["docker-compose.yml"], { RATE_LIMIT_PER_MINUTE: "100000" });
    await project.compose("build", "--quiet");
  }, 600_000);
  afterAll(() => project?.[Symbol.asyncDispose]());

  test("up --wait from a clean state, twice: all healthy, nothing written into the working tree (pitfalls 99, 104)", async (context) => {
    skipUnlessPossible(context);
    const before = await gitStatus();
    const since = performance.now();
    await project.compose("up", "--detach", "--wait", "--quiet-pull");
    expect(performance.now() - since).toBeLessThan(120_000);
    await project.compose("up", "--detach", "--wait");
    const containers = await project.containers();
    expect(containers.filter(({ service }) => service === "score-display")).toHaveLength(2);
    for (const { service, isHealthy, exitCode } of containers) {
      expect([service, oneShots.includes(service) ? exitCode : isHealthy]).toEqual([
        service,
        oneShots.includes(service) ? 0 : true,
      ]);
    }
    const [broker] = await project.containers("rabbitmq");
    const [{ Config }] = JSON.parse(await docker("inspect", broker?.name ?? ""));
    expect(Config.Healthcheck.Test.join(" ")).toContain("check_port_connectivity");
    expect(await gitStatus()).toBe(before);
  });

  test("a match is replayed again and again, and both boards show it", async (context) => {
    skipUnlessPossible(context);
    for (const index of [1, 2]) await expectScores(await project.url("score-display", index));
  });

  test("a patient is answered through the reply queue, and both subscribers know", async (context) => {
    skipUnlessPossible(context);
    const { status, patientId } = await addPatient("first");
    expect(status).toBe(201);
    await expectKnown(project, patientId);
  });

  test("scheduling is down for a while: nothing is lost and nothing is doubled", async (context) => {
    skipUnlessPossible(context);
    await project.compose("stop", "scheduling");
    const added = await Promise.all(["second", "third", "fourth"].map((key) => addPatient(key)));
    await project.compose("start", "scheduling");
    for (const { patientId } of added) await expectKnown(project, patientId);
  });

  test("down, which removes every container, and up again: what waited for a subscriber is still there (pitfall 100)", async (context) => {
    skipUnlessPossible(context);
    await project.compose("stop", "scheduling");
    const { patientId } = await addPatient("sixth");
    await project.compose("down");
    expect(await project.containers()).toEqual([]);
    await project.compose("up", "--detach", "--wait");
    await expectKnown(project, patientId);
  });

  test("patient-registry is down: nobody there, said at once; repeated under its key, accepted once", async (context) => {
    skipUnlessPossible(context);
    await project.compose("stop", "patient-registry");
    const refused = await addPatient("fifth");
    expect(refused).toMatchObject({ status: 503, code: "no_responder" });
    await project.compose("start", "patient-registry");
    const accepted: string[] = [];
    await expect
      .poll(
        async () => {
          const { status, patientId } = await addPatient("fifth");
          if (status === 201) accepted.push(patientId);
          return accepted.length;
        },
        { timeout: 60_000, interval: 500 },
      )
      .toBe(2);
    expect(accepted[0]).toBe(accepted[1]);
    await expectKnown(project, accepted[0] ?? "");
  });

  test("an image holds nothing to work with, and no secret; a container has Docker's init in front (pitfall 102)", async (context) => {
    skipUnlessPossible(context);
    const setup = await project.compose("run", "--rm", "--entrypoint", "node", "setup", "-p", readPasswords);
    const secrets = setup.trim().split("\n");
    expect(secrets.length).toBeGreaterThan(10);
    for (const image of ourImages.map((name) => `amqp-idioms/${name}`)) {
      const told = (await docker("history", "--no-trunc", image)) + (await docker("inspect", image));
      expect(secrets.filter((secret) => told.includes(secret))).toEqual([]);
      const [{ Config }] = JSON.parse(await docker("inspect", image));
      expect(Config.User).toBe("1000:1000");
      expect(Config.Labels["org.opencontainers.image.licenses"]).toBe("MIT");
      expect(Config.Healthcheck.Test[0]).toBe("CMD");
      for (const program of ["sh", "npm", "pnpm", "apt-get"]) {
        await expect(docker("run", "--rm", "--entrypoint", program, image)).rejects.toThrow(
          /executable file not found/,
        );
      }
    }
    for (const { name, service } of await project.containers(...ourImages)) {
      const [{ HostConfig, Config }] = JSON.parse(await docker("inspect", name));
      expect([service, HostConfig.ReadonlyRootfs, HostConfig.Init]).toEqual([service, true, true]);
      expect(secrets.filter((secret) => JSON.stringify(Config).includes(secret))).toEqual([]);
    }
  });

  test("guest is refused, the login that `setup show` prints is not, and setup changes no password (pitfall 114)", async (context) => {
    skipUnlessPossible(context);
    const shown = await project.compose("run", "--rm", "setup", "show");
    const [, password = ""] = /^password +(\S+)$/m.exec(shown) ?? [];
    expect(await whoAmI("admin", password)).toBe(200);
    expect(await whoAmI("guest", "guest")).toBe(401);
    await project.compose("run", "--rm", "setup");
    await project.compose("run", "--rm", "grant");
    expect(await project.compose("run", "--rm", "setup", "show")).toBe(shown);
    expect(await whoAmI("admin", password)).toBe(200);
  });

  test("a service can read no other's secrets, and no other's database", async (context) => {
    skipUnlessPossible(context);
    const [scheduling] = await project.containers("scheduling");
    const inScheduling = (code: string): Promise<string> =>
      docker("exec", scheduling?.name ?? "", "node", "--input-type=module", "-e", code);
    expect(
      (
        await inScheduling(`import fs from "node:fs"; console.log(fs.readdirSync("/secrets").toSorted().join())`)
      ).trim(),
    ).toBe("amqp-url,database-url");
    const connecting = `
      import fs from "node:fs";
      import pg from "pg";
      const url = new URL(fs.readFileSync("/secrets/database-url", "utf8"));
      url.pathname = "reporting";
      await new pg.Client(url.href).connect().then(() => console.log("in"), ({ message }) => console.log(message));`;
    expect(await inScheduling(connecting)).toContain("permission denied for database");
  });

  test("the operator's tool works under its own user", async (context) => {
    skipUnlessPossible(context);
    const listed = await project.compose("run", "--rm", "operator", "dead", "list", "--json");
    const queues = listed
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line).queue);
    expect(queues).toEqual(["notify.patient.add.scheduling.dead", "notify.patient.add.reporting.dead"]);
  });

  test("replicas: three of scheduling, four boards", async (context) => {
    skipUnlessPossible(context);
    const scale = ["--scale", "scheduling=3", "--scale", "score-display=4"];
    await project.compose("up", "--detach", "--wait", "--no-recreate", ...scale);
    expect(await project.containers("scheduling")).toHaveLength(3);
    for (const index of [1, 2, 3, 4]) await expectScores(await project.url("score-display", index));
  });

  test("each container killed and restarted in turn, under load: nobody is lost or doubled", async (context) => {
    skipUnlessPossible(context);
    const ledger = new Ledger();
    const load = new Patients(await project.url("add-patient-api"), ledger, new Random(1));
    load.start();
    const running = (await project.containers()).filter(({ service }) => !oneShots.includes(service));
    for (const container of running) {
      await inject(ledger, `${container.service} killed`, async () => {
        process.kill(container.pid, "SIGKILL");
        await expectHealthyAgain(container, true);
      });
    }
    for (const service of new Set(running.map(({ service }) => service))) {
      await inject(ledger, `${service} restarted`, async () => {
        await project.compose("restart", service);
        for (const container of await project.containers(service)) await expectHealthyAgain(container, false);
      });
    }
    expect(await load.finish(60_000)).toBe(true);
    await expect.poll(unfinished, { timeout: 100_000, interval: 1_000 }).toBe(0);
    const evidence = evidenceOf(ledger, await readTables((service, sql) => project.query(service, sql)));
    expect(ledger.registrations.length).toBeGreaterThan(100);
    expect(patients.acceptedOnce(evidence)).toEqual([]);
    expect(patients.oneAppointment(evidence)).toEqual([]);
    expect(patients.countedOnce(evidence)).toEqual([]);
    expect(patients.noSlotTwice(evidence)).toEqual([]);
    expect(ledger.wrongPatients).toEqual([]);
  }, 900_000);

  test("stop ends every service in good order within its grace period; down -v forgets everything (pitfall 102)", async (context) => {
    skipUnlessPossible(context);
    const since = performance.now();
    await project.compose("stop", ...services);
    expect(performance.now() - since).toBeLessThan(gracePeriodMs);
    for (const { service, exitCode } of await project.containers(...services)) {
      expect([service, exitCode]).toEqual([service, 0]);
    }
    await project[Symbol.asyncDispose]();
    expect(await project.containers()).toEqual([]);
    expect(await docker("volume", "ls", "-q", "--filter", `label=com.docker.compose.project=${project.name}`)).toBe("");
  });

  const addPatient = async (key: string) => postPatient(await project.url("add-patient-api"), key);

  async function whoAmI(user: string, password: string): Promise<number> {
    const authorization = `Basic ${Buffer.from(`${user}:${password}`).toString("base64")}`;
    return (await fetch(`${project.managementUrl}/api/whoami`, { headers: { authorization } })).status;
  }

  async function expectHealthyAgain({ name, restarts }: Container, isRestarted: boolean): Promise<void> {
    const look = async (): Promise<boolean> => {
      const found = (await project.containers()).find((one) => one.name === name);
      return found !== undefined && found.isHealthy && (!isRestarted || found.restarts > restarts);
    };
    await expect.poll(look, { timeout: 120_000, interval: 500 }).toBe(true);
  }

  async function unfinished(): Promise<number> {
    const {
      patients: all,
      outbox,
      appointments,
      registrations,
    } = await readTables((service, sql) => project.query(service, sql));
    return outbox.length + Math.abs(2 * all.length - appointments.length - registrations.length);
  }
});

describe("docker compose, with a second file", { timeout: 300_000 }, () => {
  test("for TLS: every service, started before broker and database, is connected by it, and a patient arrives everywhere (pitfall 98)", async (context) => {
    skipUnlessPossible(context);
    await using project = await ComposeProject.create(["docker-compose.yml", "docker-compose.tls.yml"]);
    await project.compose("run", "--rm", "setup");
    await project.compose("up", "--detach", "--no-deps", ...services);
    for (const name of services) {
      const looked = /Cannot connect to the broker|waiting for the database/;
      await expect.poll(() => project.compose("logs", name), { timeout: 30_000 }).toMatch(looked);
    }
    await project.compose("up", "--detach", "--wait");
    await expectAddedPatientKnown(project);
    const connections = await management(project, "connections");
    expect(new Set(connections.map(({ user }) => user)).size).toBe(6);
    expect(connections.filter(({ ssl }) => ssl !== true)).toEqual([]);
    await expectScores(await project.url("score-display"));
    await expect(project.compose("run", "--rm", "-e", "AMQP_CA_FILE=", "operator", "dead", "list")).rejects.toThrow(
      /of no authority that is trusted here/,
    );
    await project.compose("run", "--rm", "operator", "dead", "list");
  });

  test("for three nodes: quorum queues, two of each service; a node is killed, and all goes on without it", async (context) => {
    skipUnlessPossible(context);
    await using project = await ComposeProject.create(["docker-compose.yml", "docker-compose.cluster.yml"]);
    await project.compose("up", "--detach", "--wait");
    expect((await management(project, "nodes")).map(({ running }) => running)).toEqual([true, true, true]);
    const types = (await management(project, "queues")).flatMap(({ name, type }) =>
      String(name).startsWith("notify.") ? [type] : [],
    );
    expect(new Set(types)).toEqual(new Set(["quorum"]));
    for (const name of services) expect(await project.containers(name)).toHaveLength(2);
    await expectAddedPatientKnown(project);
    const [second] = await project.containers("rabbitmq-2");
    await docker("kill", second?.name ?? "");
    await expectAddedPatientKnown(project);
    for (const index of [1, 2]) await expectScores(await project.url("score-display", index));
  });
});

/** Accepted within a minute, however often it must be asked for, then booked and counted. */
async function expectAddedPatientKnown(project: ComposeProject): Promise<void> {
  const url = await project.url("add-patient-api");
  const key = crypto.randomUUID();
  let patientId = "";
  const accepted = async (): Promise<number> => {
    const answer = await postPatient(url, key);
    patientId = answer.patientId;
    return answer.status;
  };
  await expect.poll(accepted, { timeout: 60_000, interval: 500 }).toBe(201);
  await expectKnown(project, patientId);
}

/** @returns what the broker's management API lists */
async function management(project: ComposeProject, what: string): Promise<Record<string, unknown>[]> {
  const shown = await project.compose("run", "--rm", "setup", "show");
  const [, password = ""] = /^password +(\S+)$/m.exec(shown) ?? [];
  const authorization = `Basic ${Buffer.from(`admin:${password}`).toString("base64")}`;
  return (await fetch(`${project.managementUrl}/api/${what}`, { headers: { authorization } })).json() as Promise<
    Record<string, unknown>[]
  >;
}

async function postPatient(url: string, key: string): Promise<{ status: number; patientId: string; code: string }> {
  const { status, body } = await send(`${url}/patients`, {
    method: "POST",
    headers: { "content-type": "application/json", "idempotency-key": `"compose-${key}"` },
    body: JSON.stringify({ given: "Ann", surname: key, birthDate: "1970-01-31" }),
    timeoutMs: 12_000,
  });
  return { status, ...JSON.parse(body) };
}

/** Booked and counted, once. */
async function expectKnown(project: ComposeProject, patientId: string): Promise<void> {
  const where = `where patient_id = '${patientId}'`;
  const look = async (): Promise<number[]> => [
    (await project.query("scheduling", `select from appointment ${where}`)).length,
    (await project.query("reporting", `select from registration ${where}`)).length,
  ];
  await expect.poll(look, { timeout: 60_000, interval: 500 }).toEqual([1, 1]);
}

async function expectScores(url: string): Promise<void> {
  const shown = async (): Promise<string> => (await get(`${url}/scores`, 5_000)).body;
  const before = await shown();
  await expect.poll(shown, { timeout: 60_000, interval: 500 }).not.toBe(before);
}

async function inject(ledger: Ledger, name: string, work: () => Promise<void>): Promise<void> {
  const record = { name, detail: "", from: monotonicMs(), to: Infinity, recoveredMs: undefined, problems: [] };
  ledger.faults.push(record);
  await work();
  record.to = monotonicMs();
  await sleep(1_000);
}

/** Of a run without probes on the wire. */
function evidenceOf(ledger: Ledger, records: Evidence["records"]): Evidence {
  return {
    ledger,
    records,
    recordsBefore: undefined,
    repeatedAtEnd: [],
    areAllAccepted: true,
    left: [],
    dead: [],
    observations: [],
    replies: new Map(),
    seenNotifications: [],
    resources: undefined,
    bareConnectionLosses: [],
    loadBeganAt: 0,
    loadEndedAt: monotonicMs(),
    unexpectedExits: [],
    displays: [],
    brokerVersion: "",
  };
}
