import type { System } from "../system.ts";
import type { Random } from "../random.ts";

/** What a fault may use. */
export interface FaultContext {
  readonly system: System;
  readonly random: Random;
  /** Sets the fault's detail: its target. */
  readonly setDetail: (detail: string) => void;
  /** Reports something that must not happen: a violation. */
  readonly reportProblem: (what: string) => void;
  /** The fault found no target: it does not count as injected. */
  readonly skip: (why: string) => void;
  /** Stops adding patients and sending malformed notifications, until resumed */
  readonly pauseNotifications: () => Promise<void>;
  readonly resumeNotifications: () => void;
  /** Waits until the system works without the node that was lost at `lostAt`, and reports a problem if that takes too long. */
  readonly waitUntilServing: (lostAt: number) => Promise<void>;
}

export interface Fault {
  readonly name: string;
  /** @returns why it cannot be injected into this system */
  unavailableReason?(system: System): string | undefined;
  /** Injects the fault. Resolves when its cause has been removed, so that the system can recover. */
  inject(context: FaultContext): Promise<void>;
}
