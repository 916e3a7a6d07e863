import type { BareClient } from "../bare-client.ts";
import type { Ledger } from "../ledger.ts";
import type { Random } from "../random.ts";
import type { System } from "../system.ts";
import { MalformedInput } from "./malformed.ts";
import { Patients } from "./patients.ts";
import { Scores } from "./scores.ts";

const idleTimeoutMs = 60_000;

/** Load of all three idioms, and malformed messages. */
export class Load {
  readonly scores: Scores;
  readonly malformed: MalformedInput;
  readonly patients: Patients;
  #isPaused = true;

  constructor(system: System, ledger: Ledger, bare: BareClient, random: Random) {
    const [producer] = system.of("score-producer");
    if (producer === undefined) throw new Error("There is no score-producer.");
    this.scores = new Scores(producer, system.of("score-display"), ledger);
    this.malformed = new MalformedInput(bare, ledger, random);
    this.patients = new Patients(system.of("add-patient-api")[0]?.url ?? "", ledger, random);
  }

  start(): void {
    this.#isPaused = false;
    this.scores.start();
    this.resumeNotifications();
  }

  pause(): void {
    this.#isPaused = true;
    this.scores.pause();
    this.patients.pause();
    this.malformed.pause();
  }

  /** Stops everything that leads to notifications, and waits for registrations in progress. */
  async pauseNotifications(): Promise<void> {
    this.malformed.pause();
    this.patients.pause();
    await this.patients.idle(idleTimeoutMs);
  }

  resumeNotifications(): void {
    if (this.#isPaused) return;
    this.patients.start();
    this.malformed.start();
  }
}
