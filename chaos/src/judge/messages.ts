import type { Malformed } from "../ledger.ts";
import type { Span } from "../cpu.ts";
import { type Evidence, type Finding, moment, wasReady, windows } from "./evidence.ts";

/** Promises about single messages: what is malformed, what is late, what is broadcast. */

const lateMs = 100;
/** What they strike is the link that the fault's detail names. */
const holdingFaults = ["network-frozen", "network-delayed", "network-throttled"];
/** Of a cluster's nodes, too */
const brokerFaults = ["broker-stopped", "broker-killed", "node-cut-off", "nodes-restarted-in-turn"];
const alarms = ["memory-alarm", "disk-alarm"];
/** From the publish that runs into the alarm to the word of it, on a busy machine */
const toldWithinMs = 150;
const patienceMs = 5_000;
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

/** A request whose queue was deleted under it, or whose asker lost its connection, gets no answer. */
export function malformedAnswered(evidence: Evidence): Finding[] {
  const { ledger, replies, observations } = evidence;
  const answerable = ledger.malformed.filter(
    ({ correlationId, fate }) => correlationId !== undefined && fate === "routed",
  );
  return answerable.flatMap((malformed) => {
    const reply = replies.get(malformed.correlationId ?? "");
    const isAnswered = reply?.contentType === "application/problem+json";
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
        const what = `${display} counted ${counted} as ${reason} of ${sent.length} after ${after.name}`;
        return [{ what, trail: sent.map((malformed) => told(malformed)) }];
      }),
    ),
  );
}

/** Its fate was not the receiver's to decide: a request queue was deleted with it inside, or the connection that asked was lost. */
function isAtRisk({ ledger }: Evidence, { at, correlationId }: Malformed): boolean {
  return ledger.faults.some(({ name, from, to }) => {
    const isNear = at < to + patienceMs && at > from - patienceMs;
    const losesAsker =
      correlationId !== undefined && [...brokerFaults, "connection-closed", "connections-closed"].includes(name);
    return isNear && (name === "request-queue-deleted" || losesAsker);
  });
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
    const holding: Span[] = ledger.faults.filter(({ name, detail, from, to }) => {
      // The broker says that it is blocked when a publish runs into that
      if (alarms.includes(name))
        return toldAt !== undefined && toldAt > from && toldAt < to && toldAt - request.at < toldWithinMs;
      return holdingFaults.includes(name) && (detail.includes(request.replica) || detail.includes(begun.replica));
    });
    const heldMs = [...holding, ...ledger.starved].reduce(
      (sum, { from, to }) => sum + Math.max(0, Math.min(to, begun.at) - Math.max(from, request.at)),
      0,
    );
    const lateBy = begun.at - expiredAt - heldMs;
    if (lateBy <= lateMs) return [];
    const trail = [
      `${moment(evidence, request.at)} sent by ${request.replica}, to be begun within ${String(request.facts["expiresInMs"])} ms`,
      `${moment(evidence, begun.at)} begun by ${begun.replica}`,
    ];
    return [{ what: `request ${String(begun.facts["messageId"])} was begun ${Math.round(lateBy)} ms too late`, trail }];
  });
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
  return windows(evidence).flatMap(({ from, to, after }) => {
    const dropped = observations
      .filter(
        ({ service, event, at }) => service === "score-producer" && event === "dropped" && at > from && at < to + 500,
      )
      .reduce((sum, { facts }) => sum + Number(facts["count"]), 0);
    return displays.flatMap((display) => {
      const standsFrom = connectedFrom(evidence, display, from, to);
      const sent = ledger.updates.filter(({ at }) => at > standsFrom && at < to);
      const shown = new Set(ledger.shown.filter((one) => one.display === display).map(({ number }) => number));
      const missing = sent.filter(({ number }) => !shown.has(number));
      if (missing.length <= dropped) return [];
      const what = `${display} missed ${missing.length} of ${sent.length} updates after ${after.name}; their sender counted ${dropped} as dropped`;
      return [
        {
          what,
          trail: missing.slice(0, 5).map(({ number, at }) => `${moment(evidence, at)} update ${number} was sent`),
        },
      ];
    });
  });
}

/** How soon a listener must stand again after a fault to be judged at all; that it comes back is another claim. */
function connectedFrom(evidence: Evidence, display: string, from: number, to: number): number {
  const back = evidence.ledger.readiness.findLast(
    ({ replica, at, isReady }) => replica === display && at < to && isReady,
  );
  return Math.max(from, (back?.at ?? to) + 500);
}

export function windowPerFault(evidence: Evidence): Finding[] {
  return windows(evidence).flatMap(({ from, to, after }) => {
    const sent = evidence.ledger.updates.filter(({ at }) => at > from && at < to);
    return sent.length >= 5
      ? []
      : [{ what: `only ${sent.length} updates were sent in peace after ${after.name}`, trail: [] }];
  });
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
