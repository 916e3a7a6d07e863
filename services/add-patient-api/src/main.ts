import { system } from "@amqp-idioms/contracts";
import { runService } from "@amqp-idioms/service-kit";
import { connect } from "amqp-kit";
import { patientsApi } from "./http.ts";
import { documentRoutes } from "./open-api.ts";
import { tryItPage } from "./page.ts";

const name = "add-patient-api";

await runService({ name, port: 3000, settings: {} }, async (service) => {
  const { settings, logger, signal, http, closeTimeoutMs } = service;
  const { amqpUrls, tls } = settings;
  const amqp = service.closeOnStop(
    await connect(amqpUrls, { system, service: name, tls, logger, signal, closeTimeoutMs }),
  );
  await documentRoutes(http);
  await http.register(tryItPage);
  await http.register(patientsApi(amqp));
  return { isReady: () => amqp.isReady };
});
