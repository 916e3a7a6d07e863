import type { System } from "../system.ts";
import type { Random } from "../random.ts";

/** What a fault has at hand. */
export interface Stage {
  readonly system: System;
  readonly random: Random;
  /** Says whom it strikes. */
  readonly note: (detail: string) => void;
  /** Something that must not be: a violation. */
  readonly complain: (what: string) => void;
  /** It struck nothing: it does not count as injected. */
  readonly miss: (why: string) => void;
  /** No patients and nothing malformed to notify, until resumed */
  readonly pauseNotifications: () => Promise<void>;
  readonly resumeNotifications: () => void;
  /** Waits until all goes on while a node of the broker is away, since `goneAt`, and complains if that takes too long. */
  readonly untilServing: (goneAt: number) => Promise<void>;
}

export interface Fault {
  readonly name: string;
  /** @returns why it cannot be injected here */
  whyNot?(system: System): string | undefined;
  /** Injects it, and resolves when it is healed: the cause is gone, the system may come back. */
  strike(stage: Stage): Promise<void>;
}
