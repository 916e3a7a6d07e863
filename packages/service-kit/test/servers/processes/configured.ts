/** Logs its settings. */
import { databaseSettings, runService, timeZoneSetting } from "../../../src/index.ts";

const settings = { ...databaseSettings("configured"), ...timeZoneSetting };

await runService({ name: "configured", port: 0, settings }, async ({ settings, logger }) => {
  const timeZone: string = settings.timeZone;
  logger.info({ ...settings, timeZone }, "settings");
});
