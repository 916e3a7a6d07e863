export { openDatabase } from "./database.ts";
export type { Database, DatabaseLocation, OpenDatabaseOptions } from "./database.ts";
export { OpenDatabaseError } from "./errors.ts";
export type { OpenDatabaseErrorCode } from "./errors.ts";

export { addToOutbox } from "./outbox.ts";
export type { OutgoingMessage } from "./outbox.ts";
export { startRelay } from "./relay.ts";
export type { MessageToSend, Relay, RelayOptions } from "./relay.ts";

export { addToInbox } from "./inbox.ts";
export type { IncomingMessage } from "./inbox.ts";
