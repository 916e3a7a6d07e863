/** What `--report FILE` writes. Everything in it was observed on the wire or over HTTP. */
export interface Report {
  ok: boolean;
  steps: StepReport[];
}

interface StepReport {
  name: string;
  ok: boolean;
  /** The updates published or the patients posted */
  sent: unknown[];
  /** By receiver: what it was seen to receive */
  received: Record<string, unknown[]>;
  ms: number;
  /** Why the step failed */
  reason?: string;
}

export type Observed = Pick<StepReport, "sent" | "received">;

/** Something that a step promises was not observed. */
export class CheckFailed extends Error {}

/** @throws {CheckFailed} with `failure` as its message, if `isTrue` is false */
export function check(isTrue: boolean, failure: string): void {
  if (!isTrue) throw new CheckFailed(failure);
}
