import type { Malformed, Update } from "../ledger.ts";
import { problemType } from "../bare.ts";
import type { Span } from "../cpu.ts";
import { type Evidence, type Finding, moment, wasReady, type Window, windows } from "./evidence.ts";

/** Promises about single messages: what is malformed, what is late, what is broadcast. */

const lateMs = 100;
/** What they strike is the link that the fault's detail names. */
const holdingFaults = ["network-frozen", "network-throttled"];
/** There and back */
const delayedMs = 600;
/** As long as one request, at most, waits for a CPU */
const starvedMs = 1_000;
/** What a request needs may be lost with a node, also where the bare client keeps its own */
const brokerFaults = ["broker-stopped", "broker-killed", "node-cut-off", "nodes-restarted-in-turn"];
const alarms = ["memory-alarm", "disk-alarm"];
/** From the publish that runs into the alarm to the word of it, on a busy machine */
const toldWithinMs = 150;
const patienceMs = 5_000;
/** From an update that is dropped to its count, at most */
const dropToldMs = 2_500;
/** From a display that stands, or no longer does, to the moment at which that was seen */
const readinessToldMs = 700;
const fewestUpdates = 5;
const subscribers = ["scheduling", "reporting"];

export function malformedSetAside(evidence: Evidence): Finding[] {
  const { ledger, dead } = evidence;
  const found = new Set(dead.map(({ queue, messageId }) => `${queue} ${messageId}`));
  const sent = ledger.malformed.filter(({ target, fate }) => target === "notify.patient.add" && fate === "routed");
  return sent.flatMap((malformed) =>
    subscribers
      .map((service) => `notify.patient.add.${service}.dead`)
      .filter((queue) => !found.has(`${queue} ${malformed.messageId}`))
      .map((queue) => ({ what: `${told(malformed)} is not in ${queue}`, trail: trailOf(evidence, malformed) })),
  );
}

export function onlyMalformedSetAside(evidence: Evidence): Finding[] {
  const sent = new Set(evidence.ledger.malformed.map(({ messageId }) => messageId));
  return evidence.dead
    .filter(({ messageId }) => !sent.has(messageId))
    .map(({ queue, messageId, headers }) => ({
      what: `message ${messageId}, which is in order, was set aside in ${queue}: ${String(headers["amqp-kit-reason"])}, ${String(headers["amqp-kit-error"])}`,
      trail: evidence.observations
        .filter(({ facts }) => facts["messageId"] === messageId)
        .map(
          ({ at, event, replica, facts }) =>
            `${moment(evidence, at)} ${event} in ${replica}, attempt ${String(facts["attempt"])}`,
        ),
    }));
}

/** A request whose queue was deleted or went with it inside, or whose asker lost its connection, gets no answer. */
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
    return [{ what: `${told(malformed)} ${what}`, trail: trailOf(evidence, malformed) }];
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
      what: `${told(malformed)} was not counted as refused`,
      trail: trailOf(evidence, malformed),
    }));
}

/** Where listeners stood all the time: at most once is all that a broadcast promises. */
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
        const what = `${display} counted ${counted} as ${reason} of ${sent.length} after ${after}`;
        return [{ what, trail: sent.map((malformed) => told(malformed)) }];
      }),
    ),
  );
}

/** Its fate was not the receiver's to decide: its queue was deleted with it inside, or went with its node, or the connection that asked was lost. */
function isAtRisk({ ledger, bareLosses }: Evidence, { at, correlationId, target }: Malformed): boolean {
  const isQueueGone = ledger.faults.some(({ name, detail, from, to }) => {
    if (name === "request-queue-deleted") return detail === target && at > from - patienceMs && at < to;
    return brokerFaults.includes(name) && at > from - patienceMs && at < to + patienceMs;
  });
  const isAskerGone = bareLosses.some((lostAt) => lostAt >= at && lostAt < at + patienceMs);
  return isQueueGone || (correlationId !== undefined && isAskerGone);
}

/** Nobody begins a request after its time limit; what the network, a blocked broker or want of a CPU held up on its way meanwhile nobody can know. */
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
    const toldAt = observations.find(({ replica, event, at, facts }) => {
      return replica === request.replica && event === "connection" && facts["state"] === "blocked" && at >= request.at;
    })?.at;
    const isOnTheWay = (detail: string): boolean => detail.includes(request.replica) || detail.includes(begun.replica);
    const holding = ledger.faults.filter(({ name, detail, from, to }) => {
      // The broker says that it is blocked when a publish runs into that
      if (alarms.includes(name))
        return toldAt !== undefined && toldAt > from && toldAt < to && toldAt - request.at < toldWithinMs;
      return holdingFaults.includes(name) && isOnTheWay(detail);
    });
    const delaying = ledger.faults.filter(({ name, detail }) => name === "network-delayed" && isOnTheWay(detail));
    const heldMs =
      overlapMs(holding, request.at, begun.at) +
      Math.min(delayedMs, overlapMs(delaying, request.at, begun.at)) +
      Math.min(starvedMs, overlapMs(ledger.starved, request.at, begun.at));
    const lateBy = begun.at - expiredAt - heldMs;
    if (lateBy <= lateMs) return [];
    const trail = [
      `${moment(evidence, request.at)} sent by ${request.replica}, to be begun within ${String(request.facts["expiresInMs"])} ms`,
      `${moment(evidence, begun.at)} begun by ${begun.replica}`,
    ];
    return [{ what: `request ${String(begun.facts["messageId"])} was begun ${Math.round(lateBy)} ms too late`, trail }];
  });
}

function overlapMs(spans: readonly Span[], begin: number, end: number): number {
  return spans.reduce((sum, { from, to }) => sum + Math.max(0, Math.min(to, end) - Math.max(from, begin)), 0);
}

export function inOrderNoneTwice({ ledger }: Evidence): Finding[] {
  const byLife = Map.groupBy(ledger.shown, ({ display, life }) => `${display}, life ${life}`);
  return [...byLife].flatMap(([who, shown]) =>
    shown.flatMap(({ number }, index) => {
      const before = shown[index - 1]?.number ?? 0;
      return number > before ? [] : [{ what: `${who} showed update ${number} after ${before}`, trail: [] }];
    }),
  );
}

/** From 5 s after a fault on every update reaches every listener connected, but for those that its sender counts as dropped. */
export function everyUpdateShown(evidence: Evidence): Finding[] {
  const { ledger, observations, displays } = evidence;
  const drops = observations.filter(({ service, event }) => service === "score-producer" && event === "dropped");
  return displays.flatMap((display) => {
    const shown = new Set(ledger.shown.filter((one) => one.display === display).map(({ number }) => number));
    return windows(evidence).flatMap((window) => {
      const sent = updatesFor(evidence, display, window);
      const missing = sent.filter(({ number }) => !shown.has(number));
      const nearby = drops.filter(({ at }) => missing.some((update) => at >= update.at && at < update.at + dropToldMs));
      const dropped = nearby.reduce((sum, { facts }) => sum + Number(facts["count"]), 0);
      if (missing.length <= dropped) return [];
      const what = `${display} missed ${missing.length} of ${sent.length} updates after ${window.after}; their sender counted ${dropped} as dropped`;
      return [
        {
          what,
          trail: missing.slice(0, 5).map(({ number, at }) => `${moment(evidence, at)} update ${number} was sent`),
        },
      ];
    });
  });
}

/** Sent in peace while the listener stood. That it comes back is another claim. */
function updatesFor(evidence: Evidence, display: string, { from, to }: Window): Update[] {
  return evidence.ledger.updates.filter(
    ({ at }) => at > from && at < to && wasReady(evidence, display, at - readinessToldMs, at + readinessToldMs),
  );
}

export function windowPerFault(evidence: Evidence): Finding[] {
  return windows(evidence).flatMap((window) =>
    evidence.displays.flatMap((display) => {
      const { length } = updatesFor(evidence, display, window);
      if (length >= fewestUpdates) return [];
      return [
        { what: `only ${length} updates were sent in peace to ${display}, ready, after ${window.after}`, trail: [] },
      ];
    }),
  );
}

function isRequest(target: Malformed["target"]): boolean {
  return target === "add_patient" || target === "get_patient";
}

function told({ messageId, target, kind }: Malformed): string {
  return `${messageId} (${kind}, to ${target})`;
}

function trailOf(evidence: Evidence, malformed: Malformed): string[] {
  const { messageId, at, settledAt, fate } = malformed;
  const seen = evidence.observations.filter(({ facts }) => facts["messageId"] === messageId);
  const faults = evidence.ledger.faults.filter(({ from, to }) => from < at + 15_000 && to > at - 5_000);
  return [
    `${moment(evidence, at)} sent; ${fate} ${Math.round(settledAt - at)} ms later`,
    ...seen.map((one) => `${moment(evidence, one.at)} ${one.event} in ${one.replica}`),
    ...faults.map(
      ({ name, detail, from, to }) =>
        `${moment(evidence, from)} fault ${name} ${detail}, healed after ${Math.round(to - from)} ms`,
    ),
  ];
}
