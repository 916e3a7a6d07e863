import type { Malformed, Update } from "../ledger.ts";
import { problemType } from "../bare-client.ts";
import type { Span } from "../cpu.ts";
import { type Evidence, type Finding, timeOf, wasReady, type Window, windows } from "./evidence.ts";

/** Promises about single messages: malformed ones, late requests, broadcasts. */

const lateMs = 100;
/** These faults hold up the link that their detail names. */
const delayingFaults = ["network-frozen", "network-throttled"];
/** Both directions of a delayed link */
const delayExcuseMs = 600;
/** The longest that one request waits for a CPU */
const cpuExcuseMs = 1_000;
/** A lost node may take a request's queue, or the reply queue of the plain amqplib client, with it */
const brokerFaults = ["broker-stopped", "broker-killed", "node-cut-off", "nodes-restarted-in-turn"];
const alarms = ["memory-alarm", "disk-alarm"];
/** The time from the publish that meets the alarm to the broker's notice, on a busy machine */
const blockedReportedWithinMs = 150;
const patienceMs = 5_000;
/** The longest time from a dropped update to its count */
const dropReportedMs = 2_500;
/** The longest time from a change of a display's readiness to the check that notices it */
const readinessReportedMs = 700;
const fewestUpdates = 5;
const subscribers = ["scheduling", "reporting"];

export function malformedDeadLettered(evidence: Evidence): Finding[] {
  const { ledger, dead } = evidence;
  const found = new Set(dead.map(({ queue, messageId }) => `${queue} ${messageId}`));
  const sent = ledger.malformed.filter(({ target, fate }) => target === "notify.patient.add" && fate === "routed");
  return sent.flatMap((malformed) =>
    subscribers
      .map((service) => `notify.patient.add.${service}.dead`)
      .filter((queue) => !found.has(`${queue} ${malformed.messageId}`))
      .map((queue) => ({ what: `${describe(malformed)} is not in ${queue}`, trail: trailOf(evidence, malformed) })),
  );
}

export function onlyMalformedDeadLettered(evidence: Evidence): Finding[] {
  const sent = new Set(evidence.ledger.malformed.map(({ messageId }) => messageId));
  return evidence.dead
    .filter(({ messageId }) => !sent.has(messageId))
    .map(({ queue, messageId, headers }) => ({
      what: `message ${messageId}, which is valid, was dead-lettered in ${queue}: ${String(headers["amqp-kit-reason"])}, ${String(headers["amqp-kit-error"])}`,
      trail: evidence.observations
        .filter(({ facts }) => facts["messageId"] === messageId)
        .map(
          ({ at, event, replica, facts }) =>
            `${timeOf(evidence, at)} ${event} in ${replica}, attempt ${String(facts["attempt"])}`,
        ),
    }));
}

/** A request gets no answer if its queue was deleted or lost with its node, or if the client lost its connection. */
export function malformedAnswered(evidence: Evidence): Finding[] {
  const { ledger, replies, observations } = evidence;
  const answerable = ledger.malformed.filter(
    ({ correlationId, fate }) => correlationId !== undefined && fate === "routed",
  );
  return answerable.flatMap((malformed) => {
    const reply = replies.get(malformed.correlationId ?? "");
    const isAnswered = reply?.contentType === problemType;
    if (isAnswered || isAtRisk(evidence, malformed)) return [];
    const isUndeliverable = observations.some(
      ({ event, at }) => event === "reply-undeliverable" && at > malformed.at && at < malformed.at + 30_000,
    );
    const what =
      reply === undefined
        ? isUndeliverable
          ? "could not be answered"
          : "was not answered"
        : `was answered as ${reply.contentType}`;
    return [{ what: `${describe(malformed)} ${what}`, trail: trailOf(evidence, malformed) }];
  });
}

export function malformedCounted(evidence: Evidence): Finding[] {
  return [...refusedRequestsCounted(evidence), ...malformedBroadcastsCounted(evidence)];
}

function refusedRequestsCounted(evidence: Evidence): Finding[] {
  const { ledger, observations } = evidence;
  const refused = new Set(
    observations.filter(({ event }) => event === "request-refused").map(({ facts }) => facts["messageId"]),
  );
  return ledger.malformed
    .filter(({ target, correlationId, fate }) => isRequest(target) && correlationId === undefined && fate === "routed")
    .filter((malformed) => !refused.has(malformed.messageId) && !isAtRisk(evidence, malformed))
    .map((malformed) => ({
      what: `${describe(malformed)} was not counted as refused`,
      trail: trailOf(evidence, malformed),
    }));
}

/** Only for listeners that were ready all the time, because a broadcast is delivered at most once. */
function malformedBroadcastsCounted(evidence: Evidence): Finding[] {
  const { ledger, observations, displays } = evidence;
  return windows(evidence).flatMap(({ from, to, after }) =>
    displays.flatMap((display) =>
      (["invalid-message", "message-too-large"] as const).flatMap((reason) => {
        const sent = ledger.malformed.filter((malformed) => {
          const { target, at, settledAt, fate } = malformed;
          return (
            target === "score_updates" &&
            fate === "routed" &&
            malformed.reason === reason &&
            at > from &&
            settledAt < to
          );
        });
        if (sent.length === 0 || !wasReady(evidence, display, from, to)) return [];
        const counted = observations
          .filter(({ replica, event, at }) => replica === display && event === "dropped" && at > from && at < to + 500)
          .filter(({ facts }) => facts["reason"] === reason)
          .reduce((sum, { facts }) => sum + Number(facts["count"]), 0);
        if (counted >= sent.length) return [];
        const what = `${display} counted ${counted} of ${sent.length} messages as ${reason} after ${after}`;
        return [{ what, trail: sent.map((malformed) => describe(malformed)) }];
      }),
    ),
  );
}

/** The receiver could not decide its fate: its queue was deleted or lost with its node, or the client's connection was lost. */
function isAtRisk({ ledger, bareConnectionLosses }: Evidence, { at, correlationId, target }: Malformed): boolean {
  const isQueueDeleted = ledger.faults.some(({ name, detail, from, to }) => {
    if (name === "request-queue-deleted") return detail === target && at > from - patienceMs && at < to;
    return brokerFaults.includes(name) && at > from - patienceMs && at < to + patienceMs;
  });
  const isConnectionLost = bareConnectionLosses.some((lostAt) => lostAt >= at && lostAt < at + patienceMs);
  return isQueueDeleted || (correlationId !== undefined && isConnectionLost);
}

/** No request is begun after its time limit. A responder cannot know how long the network, a blocked broker or a busy CPU delayed the request, so that time is added to the limit. */
export function begunInTime(evidence: Evidence): Finding[] {
  const { observations, ledger } = evidence;
  const sent = new Map(
    observations
      .filter(({ event }) => event === "request-sent")
      .map((seen) => [seen.facts["messageId"], seen] as const),
  );
  return observations.flatMap((begun) => {
    if (begun.event !== "request-begun") return [];
    const request = sent.get(begun.facts["messageId"]);
    if (request === undefined) return [];
    const expiredAt = request.at + Number(request.facts["expiresInMs"]);
    const blockedAt = observations.find(({ replica, event, at, facts }) => {
      return replica === request.replica && event === "connection" && facts["state"] === "blocked" && at >= request.at;
    })?.at;
    const isOnTheWay = (detail: string): boolean => detail.includes(request.replica) || detail.includes(begun.replica);
    const holding = ledger.faults.filter(({ name, detail, from, to }) => {
      // The broker reports the alarm only when a publish meets it
      if (alarms.includes(name))
        return (
          blockedAt !== undefined &&
          blockedAt > from &&
          blockedAt < to &&
          blockedAt - request.at < blockedReportedWithinMs
        );
      return delayingFaults.includes(name) && isOnTheWay(detail);
    });
    const slowed = ledger.faults.filter(({ name, detail }) => name === "network-delayed" && isOnTheWay(detail));
    const heldMs =
      overlapMs(holding, request.at, begun.at) +
      Math.min(delayExcuseMs, overlapMs(slowed, request.at, begun.at)) +
      Math.min(cpuExcuseMs, overlapMs(ledger.cpuShortages, request.at, begun.at));
    const lateBy = begun.at - expiredAt - heldMs;
    if (lateBy <= lateMs) return [];
    const trail = [
      `${timeOf(evidence, request.at)} sent by ${request.replica}, to be begun within ${String(request.facts["expiresInMs"])} ms`,
      `${timeOf(evidence, begun.at)} begun by ${begun.replica}`,
    ];
    return [{ what: `request ${String(begun.facts["messageId"])} was begun ${Math.round(lateBy)} ms too late`, trail }];
  });
}

function overlapMs(spans: readonly Span[], begin: number, end: number): number {
  return spans.reduce((sum, { from, to }) => sum + Math.max(0, Math.min(to, end) - Math.max(from, begin)), 0);
}

export function inOrderOnce({ ledger }: Evidence): Finding[] {
  const byLife = Map.groupBy(ledger.shown, ({ display, life }) => `${display}, life ${life}`);
  return [...byLife].flatMap(([display, shown]) =>
    shown.flatMap(({ number }, index) => {
      const before = shown[index - 1]?.number ?? 0;
      return number > before ? [] : [{ what: `${display} showed update ${number} after ${before}`, trail: [] }];
    }),
  );
}

/** From 5 s after a fault, every update reaches every connected listener, except those that its sender counts as dropped. */
export function everyUpdateShown(evidence: Evidence): Finding[] {
  const { ledger, observations, displays } = evidence;
  const drops = observations.filter(({ service, event }) => service === "score-producer" && event === "dropped");
  return displays.flatMap((display) => {
    const shown = new Set(ledger.shown.filter((one) => one.display === display).map(({ number }) => number));
    return windows(evidence).flatMap((window) => {
      const sent = updatesFor(evidence, display, window);
      const missing = sent.filter(({ number }) => !shown.has(number));
      const nearby = drops.filter(({ at }) =>
        missing.some((update) => at >= update.at && at < update.at + dropReportedMs),
      );
      const dropped = nearby.reduce((sum, { facts }) => sum + Number(facts["count"]), 0);
      if (missing.length <= dropped) return [];
      const what = `${display} missed ${missing.length} of ${sent.length} updates after ${window.after}; their sender counted ${dropped} as dropped`;
      return [
        {
          what,
          trail: missing.slice(0, 5).map(({ number, at }) => `${timeOf(evidence, at)} update ${number} was sent`),
        },
      ];
    });
  });
}

/** The updates sent in a quiet period while the listener was ready. Another claim checks that the listener becomes ready again. */
function updatesFor(evidence: Evidence, display: string, { from, to }: Window): Update[] {
  return evidence.ledger.updates.filter(
    ({ at }) => at > from && at < to && wasReady(evidence, display, at - readinessReportedMs, at + readinessReportedMs),
  );
}

export function windowPerFault(evidence: Evidence): Finding[] {
  return windows(evidence).flatMap((window) =>
    evidence.displays.flatMap((display) => {
      const { length } = updatesFor(evidence, display, window);
      if (length >= fewestUpdates) return [];
      return [{ what: `only ${length} updates were sent while ${display} was ready after ${window.after}`, trail: [] }];
    }),
  );
}

function isRequest(target: Malformed["target"]): boolean {
  return target === "add_patient" || target === "get_patient";
}

function describe({ messageId, target, kind }: Malformed): string {
  return `${messageId} (${kind}, to ${target})`;
}

function trailOf(evidence: Evidence, malformed: Malformed): string[] {
  const { messageId, at, settledAt, fate } = malformed;
  const seen = evidence.observations.filter(({ facts }) => facts["messageId"] === messageId);
  const faults = evidence.ledger.faults.filter(({ from, to }) => from < at + 15_000 && to > at - 5_000);
  return [
    `${timeOf(evidence, at)} sent; ${fate} ${Math.round(settledAt - at)} ms later`,
    ...seen.map((one) => `${timeOf(evidence, one.at)} ${one.event} in ${one.replica}`),
    ...faults.map(
      ({ name, detail, from, to }) =>
        `${timeOf(evidence, from)} fault ${name} ${detail}, ended after ${Math.round(to - from)} ms`,
    ),
  ];
}
