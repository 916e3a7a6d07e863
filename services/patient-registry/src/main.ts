import { PatientAdded, addPatient, getPatient, patientAdded, system } from "@amqp-idioms/contracts";
import { openDatabase, startRelay } from "@amqp-idioms/outbox";
import { databaseSettings, runService } from "@amqp-idioms/service-kit";
import { connect } from "amqp-kit";
import { startDeletingExpiredKeys } from "./expired-keys.ts";
import { onAddPatient } from "./on-add-patient.ts";
import { onGetPatient } from "./on-get-patient.ts";
import type { RegistryTables } from "./patient-store.ts";

const name = "patient-registry";

await runService({ name, port: 3004, settings: { ...databaseSettings(name) } }, async (service) => {
  const { settings, logger, signal, closeTimeoutMs } = service;
  const { amqpUrls, tls } = settings;
  const migrations = new URL("../migrations/", import.meta.url);
  const database = service.closeOnStop(
    await openDatabase<RegistryTables>(settings.database, { schema: name, migrations, logger, signal }),
  );
  service.closeOnStop(startDeletingExpiredKeys(database, logger));

  const amqp = service.closeOnStop(
    await connect(amqpUrls, { system, service: name, tls, logger, signal, closeTimeoutMs }),
  );
  service.closeOnStop(
    startRelay(database, {
      send: ({ messageId, message, signal }) =>
        amqp.notify(patientAdded, PatientAdded.parse(message), { messageId, signal }),
      logger,
    }),
  );
  await amqp.respond(addPatient, onAddPatient(database));
  await amqp.respond(getPatient, onGetPatient(database));
  return { isReady: async () => amqp.isReady && (await database.isReachable()) };
});
