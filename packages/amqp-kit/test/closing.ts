export const closeTimeoutMs = 1_000;
/** A timer on a busy machine, and closing itself */
export const slackMs = 400;
