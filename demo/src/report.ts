/** What `--report FILE` writes. Everything in it was observed on the wire or over HTTP. */
export interface Report {
  ok: boolean;
  steps: StepReport[];
}

interface StepReport {
  name: string;
  ok: boolean;
  /** What was said: events published, patients posted */
  sent: unknown[];
  /** By receiver: what it was seen to have got */
  received: Record<string, unknown[]>;
  ms: number;
  /** Why it did not hold */
  reason?: string;
}

export type Observed = Pick<StepReport, "sent" | "received">;

/** A step that did not hold what it promises. */
export class NotHeld extends Error {}

/** @throws {NotHeld} */
export function hold(isHeld: boolean, what: string): void {
  if (!isHeld) throw new NotHeld(what);
}
