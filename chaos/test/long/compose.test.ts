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
import { ComposeProject, type Container, docker, gitStatus, whyComposeIsUnavailable } from "./compose-project.ts";

const services = ["score-producer", "score-display", "add-patient-api", "patient-registry", "scheduling", "reporting"];
const ourImages = ["setup", ...services];
/** These two exit after their work; all others keep running. */
const oneShots = ["setup", "grant"];
const gracePeriodMs = 15_000;
/** JavaScript for the setup container: prints each password on a line. */
const readPasswords = `Object.values(JSON.parse(require("fs").readFileSync("/secrets/setup/passwords.json")))
  .flatMap((one) => (typeof one === "string" ? one : Object.values(one))).join("\\n")`;

const isRequested = process.env["COMPOSE"] === "yes";
const unavailableReason = isRequested
  ? await whyComposeIsUnavailable()
  : "needs COMPOSE=yes, because it takes minutes and most of the machine";

function skipUnlessPossible({ skip }: TestContext): void {
  if (unavailableReason !== undefined) skip(unavailableReason);
}

/** These tests run one after the other on one system, started from a clean state. */
describe("docker compose", { timeout: 300_000 }, () => {
  let project: ComposeProject;

  beforeAll(async () => {
    if (unavailableReason !== undefined) return;
    // All requests of the ledger's client come from one address
    project = await ComposeProject.create(["docker-compose.yml"], { RATE_LIMIT_PER_MINUTE: "100000" });
    await project.compose("build", "--quiet");
  }, 600_000);
  afterAll(() => project?.[Symbol.asyncDispose]());

  test("up --wait, twice from a clean state, makes every container healthy and writes nothing into the working tree (pitfalls 99, 104)", async (context) => {
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

  test("Matches are replayed without end, and both displays show them", async (context) => {
    skipUnlessPossible(context);
    for (const index of [1, 2]) await expectScores(await project.url("score-display", index));
  });

  test("A patient is accepted, and both subscribers receive the notification", async (context) => {
    skipUnlessPossible(context);
    const { status, patientId } = await addPatient("first");
    expect(status).toBe(201);
    await expectKnown(project, patientId);
  });

  test("While scheduling is stopped, no notification is lost and none takes effect twice", async (context) => {
    skipUnlessPossible(context);
    await project.compose("stop", "scheduling");
    const added = await Promise.all(["second", "third", "fourth"].map((key) => addPatient(key)));
    await project.compose("start", "scheduling");
    for (const { patientId } of added) await expectKnown(project, patientId);
  });

  test("After down, which removes every container, and up, the notifications of a stopped subscriber still exist (pitfall 100)", async (context) => {
    skipUnlessPossible(context);
    await project.compose("stop", "scheduling");
    const { patientId } = await addPatient("sixth");
    await project.compose("down");
    expect(await project.containers()).toEqual([]);
    await project.compose("up", "--detach", "--wait");
    await expectKnown(project, patientId);
  });

  test("While patient-registry is stopped, the API answers no_responder; repeats under the same key add one patient", async (context) => {
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

  test("An image contains no shell, no package manager and no secret, and a container runs under Docker's init (pitfall 102)", async (context) => {
    skipUnlessPossible(context);
    const setup = await project.compose("run", "--rm", "--entrypoint", "node", "setup", "-p", readPasswords);
    const secrets = setup.trim().split("\n");
    expect(secrets.length).toBeGreaterThan(10);
    for (const image of ourImages.map((name) => `amqp-idioms/${name}`)) {
      const metadata = (await docker("history", "--no-trunc", image)) + (await docker("inspect", image));
      expect(secrets.filter((secret) => metadata.includes(secret))).toEqual([]);
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

  test("The broker refuses guest and accepts the login that `setup show` prints, and setup changes no password (pitfall 114)", async (context) => {
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

  test("A service can read neither the secrets nor the database of another service", async (context) => {
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

  test("The operator's tool works under its own user", async (context) => {
    skipUnlessPossible(context);
    const listed = await project.compose("run", "--rm", "operator", "dead", "list", "--json");
    const queues = listed
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line).queue);
    expect(queues).toEqual(["notify.patient.add.scheduling.dead", "notify.patient.add.reporting.dead"]);
  });

  test("--scale starts three replicas of scheduling and four displays", async (context) => {
    skipUnlessPossible(context);
    const scale = ["--scale", "scheduling=3", "--scale", "score-display=4"];
    await project.compose("up", "--detach", "--wait", "--no-recreate", ...scale);
    expect(await project.containers("scheduling")).toHaveLength(3);
    for (const index of [1, 2, 3, 4]) await expectScores(await project.url("score-display", index));
  });

  test("No patient is lost or takes effect twice while each container is killed and restarted under load", async (context) => {
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

  test("stop ends every service with exit code 0 within its grace period, and down -v deletes everything (pitfall 102)", async (context) => {
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
    const check = async (): Promise<boolean> => {
      const found = (await project.containers()).find((one) => one.name === name);
      return found !== undefined && found.isHealthy && (!isRestarted || found.restarts > restarts);
    };
    await expect.poll(check, { timeout: 120_000, interval: 500 }).toBe(true);
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
  test("With the TLS file, every service started before broker and database connects over TLS, and a patient is booked and counted (pitfall 98)", async (context) => {
    skipUnlessPossible(context);
    await using project = await ComposeProject.create(["docker-compose.yml", "docker-compose.tls.yml"]);
    await project.compose("run", "--rm", "setup");
    await project.compose("up", "--detach", "--no-deps", ...services);
    for (const name of services) {
      const waitingForServers = /Cannot connect to the broker|waiting for the database/;
      await expect.poll(() => project.compose("logs", name), { timeout: 30_000 }).toMatch(waitingForServers);
    }
    await project.compose("up", "--detach", "--wait");
    await expectAddedPatientKnown(project);
    const connections = await management(project, "connections");
    expect(new Set(connections.map(({ user }) => user)).size).toBe(6);
    expect(connections.filter(({ ssl }) => ssl !== true)).toEqual([]);
    await expectScores(await project.url("score-display"));
    await expect(project.compose("run", "--rm", "-e", "AMQP_CA_FILE=", "operator", "dead", "list")).rejects.toThrow(
      /signed by an authority that is not trusted here/,
    );
    await project.compose("run", "--rm", "operator", "dead", "list");
  });

  test("With the cluster file, two replicas of each service work on quorum queues of three nodes, even after one node is killed", async (context) => {
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

/** Adds a patient, with repeats for up to a minute, and expects it to be booked and counted once. */
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

/** @returns a list of the broker's management API */
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

/** Expects the patient to be booked and counted once. */
async function expectKnown(project: ComposeProject, patientId: string): Promise<void> {
  const where = `where patient_id = '${patientId}'`;
  const check = async (): Promise<number[]> => [
    (await project.query("scheduling", `select from appointment ${where}`)).length,
    (await project.query("reporting", `select from registration ${where}`)).length,
  ];
  await expect.poll(check, { timeout: 60_000, interval: 500 }).toEqual([1, 1]);
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

/** The evidence of a run without probes and without a client on the broker. */
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
