/** Starts, stops and breaks one server, in a container or as a process of this machine. */
export interface ServerEngine {
  /** Resolves when the process has started; it may not accept connections yet. */
  start(): Promise<void>;
  /** Stops it gracefully; resolves when it has ended. */
  stop(): Promise<void>;
  /** Sends `kill -9`; resolves when it has ended. */
  kill(): Promise<void>;
  freeze(): Promise<void>;
  thaw(): Promise<void>;
  /** Runs a command line tool of the server, such as rabbitmqctl, beside it. */
  run(command: string, args: string[]): Promise<void>;
  /** False if it was stopped or ended by itself. */
  isRunning(): Promise<boolean>;
  /** Returns the last lines that it printed, for error messages. */
  lastOutput(): Promise<string>;
  /** Kills it and removes its data. */
  remove(): Promise<void>;
}
