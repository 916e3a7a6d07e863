export type OpenDatabaseErrorCode =
  | "DATABASE_REFUSED"
  | "DATABASE_FOLDER_IN_USE"
  | "DATABASE_FOLDER_UNUSABLE"
  | "DATABASE_MIGRATION_FAILED"
  | "DATABASE_MIGRATION_CHANGED";

/** The database cannot be opened, and a retry would not help. The message says what to do, and has no credentials. */
export class OpenDatabaseError extends Error {
  override readonly name = "OpenDatabaseError";
  readonly code: OpenDatabaseErrorCode;
  constructor(code: OpenDatabaseErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
