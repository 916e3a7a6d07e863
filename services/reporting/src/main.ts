import { system, patientAdded } from "@amqp-idioms/contracts";
import { openDatabase } from "@amqp-idioms/outbox";
import { databaseSettings, runService, timeZoneSetting } from "@amqp-idioms/service-kit";
import { connect } from "amqp-kit";
import packageJson from "../package.json" with { type: "json" };
import { reportsApi } from "./http.ts";
import { onPatientAdded } from "./on-patient-added.ts";
import type { ReportingTables } from "./registration-store.ts";

const name = "reporting";
const settings = { ...databaseSettings(name), ...timeZoneSetting };

await runService({ name, port: 3003, settings }, async (service) => {
  const { settings, logger, signal, http, closeOnStop, closeTimeoutMs } = service;
  const { amqpUrls, tls } = settings;

  const migrations = new URL("../migrations/", import.meta.url);
  const database = closeOnStop(
    await openDatabase<ReportingTables>(settings.database, { schema: name, migrations, logger, signal }),
  );

  const { version } = packageJson;
  const amqp = closeOnStop(
    await connect(amqpUrls, { system, service: name, version, tls, logger, signal, closeTimeoutMs }),
  );
  await amqp.subscribe(patientAdded, onPatientAdded(database, settings.timeZone, logger), {
    isAvailable: () => database.isReachable(),
  });

  await http.register(reportsApi(database.kysely, settings.timeZone));

  return { isReady: async () => amqp.isReady && (await database.isReachable()) };
});
