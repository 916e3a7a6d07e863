/** Intervals in milliseconds of the classes that poll or wait. Services use the defaults; `connectWith` passes others for tests. */
export interface Intervals {
  /** How often exchanges, queues and bindings are re-declared: the documented time until a deleted one exists again. */
  refreshMs: number;
  dialTimeoutMs: number;
  /** A node that gives no answer for so long is left for the next address, if there is one. */
  unansweredMs: number;
  /** How often a missing confirm of a failed message is reported. */
  confirmReportMs: number;
  /** `isAvailable` of a subscription has this long to answer. */
  availabilityTimeoutMs: number;
}

export const defaultIntervals: Intervals = {
  refreshMs: 5_000,
  dialTimeoutMs: 10_000,
  unansweredMs: 5_000,
  confirmReportMs: 10_000,
  availabilityTimeoutMs: 5_000,
};
