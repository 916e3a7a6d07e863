/** Opens the folder of DATA_DIR, logs "ready", and keeps it open until the process is stopped. */
import { openDatabase } from "../../../src/index.ts";

const logger = { debug() {}, info() {}, warn() {}, error() {} };
if (process.env["SAY_BEFORE"] === "1") console.log(JSON.stringify({ msg: "ready" }));
const database = await openDatabase<{ effect: { what: string } }>(
  { dataDir: process.env["DATA_DIR"] ?? "" },
  { schema: "test-folder", migrations: new URL("../migrations/", import.meta.url), logger },
);
await database.kysely.insertInto("effect").values({ what: "held" }).execute();
console.log(JSON.stringify({ msg: "ready" }));
setInterval(() => {}, 60_000);
