import { addPatient, patientAdded, system } from "@amqp-idioms/contracts";
import { test } from "@amqp-idioms/local-servers/vitest";
import { connect, TopologyError } from "amqp-kit";
import { describe, expect } from "vitest";
import { patient, runExchanges, type Service, type User } from "../exchanges.ts";
import { bareUser } from "../peers/bare-user.ts";
import { createUser, users } from "../users.ts";

test("Every service works under a user that has only the permissions derived from the system (pitfall 115)", async ({
  vhost,
  cleanup,
}) => {
  const urls = new Map<User, string>();
  for (const user of users) urls.set(user, await createUser(vhost, cleanup, user));
  const urlOf = (user: User): string => urls.get(user) ?? "";
  await expect(runExchanges(["broadcast", "request", "notify"], { vhost, cleanup, urlOf })).resolves.toBeUndefined();
});

test("No user can connect as another service, and the error names the refusal", async ({ vhost, cleanup }) => {
  cleanup(await connect(vhost.url, { system, service: "patient-registry" }));
  const as = async (user: User, service: Service) =>
    cleanup(await connect(await createUser(vhost, cleanup, user), { system, service }));
  for (const user of ["scheduling", "reporting", "add-patient-api", "score-producer", "score-display"] as const) {
    await expect(as(user, "patient-registry")).rejects.toThrow(TopologyError);
  }
  for (const user of ["scheduling", "reporting", "add-patient-api", "patient-registry"] as const) {
    await expect(as(user, "score-producer")).rejects.toThrow(TopologyError);
  }
  await expect(as("scheduling", "reporting")).rejects.toThrow(/not permitted/);
  await expect(as("reporting", "scheduling")).rejects.toThrow(/not permitted/);
});

describe("scheduling's user with a plain amqplib client", () => {
  const notifications = "notify.patient.add";
  const own = `${notifications}.scheduling`;
  const others = `${notifications}.reporting`;
  type User = Awaited<ReturnType<typeof bareUser>>;
  const attempts: Record<string, { on: string; tries: (user: User) => Promise<unknown> }> = {
    "publish a patient notification": { on: notifications, tries: ({ publish }) => publish(notifications, "") },
    "dead-letter from its own queue into the notification's exchange": {
      on: notifications,
      tries: ({ attempt }) =>
        attempt((channel) => channel.assertQueue(`${own}.delay.1`, { deadLetterExchange: notifications })),
    },
    "make the notification's exchange an alternate exchange of its own": {
      on: notifications,
      tries: ({ attempt }) =>
        attempt((channel) => channel.assertExchange(`${own}.delay.1`, "direct", { alternateExchange: notifications })),
    },
    "read reporting's queue": { on: others, tries: ({ attempt }) => attempt((channel) => channel.get(others)) },
    "consume reporting's queue": {
      on: others,
      tries: ({ attempt }) => attempt((channel) => channel.consume(others, () => {})),
    },
    "read reporting's dead letters": {
      on: `${others}.dead`,
      tries: ({ attempt }) => attempt((channel) => channel.get(`${others}.dead`)),
    },
    "write to reporting's queue through the default exchange": {
      on: "amq.default",
      tries: ({ publish }) => publish("", others),
    },
    "dead-letter from its own queue into reporting's": {
      on: "amq.default",
      tries: ({ attempt }) =>
        attempt((channel) =>
          channel.assertQueue(`${own}.delay.1`, { deadLetterExchange: "", deadLetterRoutingKey: others }),
        ),
    },
    "write to reporting's queue through reporting's exchange for failures": {
      on: `${others}.failed`,
      tries: ({ publish }) => publish(`${others}.failed`, "again"),
    },
    "bind reporting's queue": {
      on: others,
      tries: ({ attempt }) => attempt((channel) => channel.bindQueue(others, `${own}.failed`, "again")),
    },
    "unbind reporting's queue": {
      on: others,
      tries: ({ attempt }) => attempt((channel) => channel.unbindQueue(others, notifications, "")),
    },
    "empty reporting's queue": { on: others, tries: ({ attempt }) => attempt((channel) => channel.purgeQueue(others)) },
    "delete reporting's queue": {
      on: others,
      tries: ({ attempt }) => attempt((channel) => channel.deleteQueue(others)),
    },
    "delete the notification's exchange": {
      on: notifications,
      tries: ({ attempt }) => attempt((channel) => channel.deleteExchange(notifications)),
    },
    "consume a request": {
      on: "add_patient",
      tries: ({ attempt }) => attempt((channel) => channel.get("add_patient")),
    },
    "bind its own queue to the requests' exchange": {
      on: "api",
      tries: ({ attempt }) => attempt((channel) => channel.bindQueue(own, "api", "add_patient")),
    },
    "answer a request": { on: "amq.default", tries: ({ publish }) => publish("", "amq.gen-JzTY20BRgKO-HjmUJj0wLg") },
  };

  test("is refused everything that is not scheduling's, with the broker's ACCESS_REFUSED (pitfall 115)", async ({
    vhost,
    cleanup,
  }) => {
    const registry = cleanup(await connect(vhost.url, { system, service: "patient-registry" }));
    await registry.respond(addPatient, () => patient);
    for (const service of ["scheduling", "reporting"] as const) {
      const subscriber = cleanup(await connect(vhost.url, { system, service }));
      await subscriber.subscribe(patientAdded, () => {});
    }
    const scheduling = cleanup(await bareUser(await createUser(vhost, cleanup, "scheduling")));
    const answers: Record<string, unknown> = {};
    const refusals: Record<string, unknown> = {};
    for (const [what, { on, tries }] of Object.entries(attempts)) {
      answers[what] = await tries(scheduling);
      const refusal = `403 \\(ACCESS-REFUSED\\).*access to (exchange|queue) '${on}' .*refused for user`;
      refusals[what] = expect.stringMatching(refusal);
    }
    expect(answers).toEqual(refusals);
    // The same client may do what scheduling does
    expect(await scheduling.publish(`${own}.failed`, `${own}.dead`)).toBe("published");
  });
});
