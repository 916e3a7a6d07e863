import { describe, expect, test } from "vitest";
import { backoffMs } from "../../src/broker/backoff.ts";
import { replyCodeOf } from "../../src/broker/channel.ts";
import { defaultIntervals } from "../../src/broker/intervals.ts";
import { ReconnectSchedule } from "../../src/broker/reconnect-schedule.ts";
import { nameOf, readUrls } from "../../src/broker/url.ts";
import { ConnectionError } from "../../src/index.ts";

const [anyone] = readUrls("amqp://host");

describe("an AMQP URL", () => {
  test.for([
    ["amqp://host", "/"],
    ["amqp://host/", "/"],
    ["amqp://host//", "/"],
    ["amqp://host/%2F", "/"],
    ["amqp://host/%2f", "/"],
    ["amqp://host/shop", "shop"],
    ["amqp://host/%2Fshop", "/shop"],
    ["amqp://host/a%2Fb", "a/b"],
    ["amqp://host/%C3%BCber%20all", "über all"],
    ["amqp://host/mail%40home", "mail@home"],
  ] as const)("%s names the virtual host %s (pitfall 112)", ([url, virtualHost]) => {
    expect(readUrls(url)).toEqual([{ ...anyone, virtualHost }]);
  });

  test("carries user and password in UTF-8, percent-encoded where needed (pitfall 111)", () => {
    const password = "p@ss/ü%?#:";
    expect(readUrls(`amqp://é:${encodeURIComponent(password)}@host`)).toEqual([{ ...anyone, username: "é", password }]);
    expect(readUrls("amqp://é:pass@host")).toEqual([{ ...anyone, username: "é", password: "pass" }]);
  });

  test("without any credentials means guest, and with a user alone an empty password", () => {
    expect(anyone).toMatchObject({ username: "guest", password: "guest" });
    expect(readUrls("amqp://shop@host")).toMatchObject([{ username: "shop", password: "" }]);
  });

  test.for([
    ["amqp://host", { protocol: "amqp", hostname: "host", port: 5672 }],
    ["amqps://host", { protocol: "amqps", hostname: "host", port: 5671 }],
    ["amqps://host:443", { protocol: "amqps", hostname: "host", port: 443 }],
    ["amqp://127.0.0.1:5673", { hostname: "127.0.0.1", port: 5673 }],
    ["amqp://[::1]:5673/shop", { hostname: "::1", port: 5673, virtualHost: "shop" }],
  ] as const)("%s names host and port", ([url, endpoint]) => {
    expect(readUrls(url)).toMatchObject([endpoint]);
  });

  test("may be one of several, as a list or with commas between them", () => {
    expect(readUrls(["amqp://one", "amqp://two"]).map(({ hostname }) => hostname)).toEqual(["one", "two"]);
    expect(readUrls("amqp://user:a,b@one/x,y, amqps://user:,c@two")).toMatchObject([
      { hostname: "one", password: "a,b", virtualHost: "x,y" },
      { hostname: "two", password: ",c", protocol: "amqps" },
    ]);
  });

  test("is dialled in any order of several with the same probability", () => {
    const endpoints = readUrls(["amqp://a", "amqp://b", "amqp://c"]);
    const counts = new Map<string, number>();
    const rounds = 60_000;
    for (let round = 0; round < rounds; round++) {
      const schedule = new ReconnectSchedule(endpoints);
      const order = endpoints.map(() => schedule.nextEndpoint().hostname).join("");
      counts.set(order, (counts.get(order) ?? 0) + 1);
    }
    expect([...counts.keys()].toSorted()).toEqual(["abc", "acb", "bac", "bca", "cab", "cba"]);
    // Seven standard deviations: less than once in 10^11 runs by chance
    for (const count of counts.values()) expect(Math.abs(count - rounds / 6)).toBeLessThan(640);
  });

  test("may ask for a heartbeat of 5 seconds or more; without that it is what the broker offers (pitfall 10)", () => {
    expect(readUrls("amqp://host?heartbeat=5")).toMatchObject([{ heartbeat: 5 }]);
    expect(readUrls("amqp://host/shop?heartbeat=60")).toMatchObject([{ heartbeat: 60 }]);
    expect(anyone?.heartbeat).toBeUndefined();
  });

  test.for([
    ["", "must begin with amqp://"],
    ["host:5672", "must begin with amqp://"],
    ["amqp://one,two", "each of several must begin with amqp:// or amqps://"],
    ["amqp://one,", "each of several must begin with amqp:// or amqps://"],
    ["http://user:topsecret@host", "must begin with amqp://"],
    ["amqp://", "must begin with amqp://"],
    ["amqp:///shop", "must begin with amqp://"],
    ["amqp://user:topsecret@host:port", "must begin with amqp://"],
    ["amqp://user:top%zzsecret@host", "percent-encoded"],
    ["amqp://user:top/secret@host", "percent-encoded"],
    ["amqp://user:1234/topsecret@host", "percent-encoded"],
    ["amqp://user:1234?topsecret@host", "percent-encoded"],
    ["amqp://user:1234#topsecret@host", "percent-encoded"],
    ["amqp://user:topsecret@host/%C3", "percent-encoded"],
    ["amqp://user:topsecret@host/a/b", "%2F"],
    ["amqp://user:topsecret@host?heartbeat=0", "at least 5 seconds"],
    ["amqp://user:topsecret@host?heartbeat=4", "at least 5 seconds"],
    ["amqp://user:topsecret@host?heartbeat=-60", "at least 5 seconds"],
    ["amqp://user:topsecret@host?heartbeat=soon", "at least 5 seconds"],
    ["amqp://user:topsecret@host?frameMax=4096", 'unknown option "frameMax"'],
  ] as const)(
    "that cannot be used is refused with its fault and without itself: %s (pitfalls 10, 45, 110)",
    ([url, fault]) => {
      const error = thrownBy(() => readUrls(url));
      expect(error).toBeInstanceOf(ConnectionError);
      expect(error).toMatchObject({ code: "AMQP_KIT_CONNECTION", retryable: false });
      expect(String(error)).toContain(fault);
      expect(String(error)).not.toMatch(/secret|1234/);
    },
  );

  test("that is missing is refused, too", () => {
    expect(() => readUrls([])).toThrow("none is given");
  });

  test("is shown in logs and errors without user and password (pitfall 110)", () => {
    const named = readUrls(["amqp://user:topsecret@host/shop", "amqps://user:topsecret@[::1]"]).map(nameOf);
    expect(named).toEqual(['amqp://host:5672, virtual host "shop"', 'amqps://[::1]:5671, virtual host "/"']);
  });
});

describe("the pause before the next attempt to connect", () => {
  test("has full jitter, so that a thousand processes do not reconnect in step (pitfall 13)", () => {
    const pauses = drawn(3);
    for (const tenth of [1, 2, 3, 4, 5, 6, 7, 8, 9]) {
      const value = pauses[tenth * 100] ?? 0;
      expect(value).toBeGreaterThan(16_000 * (tenth / 10 - 0.08));
      expect(value).toBeLessThan(16_000 * (tenth / 10 + 0.08));
    }
  });

  test("is 1 s on average at first, and grows (pitfall 13)", () => {
    expect(mean(drawn(0))).toBeGreaterThan(850);
    expect(mean(drawn(0))).toBeLessThan(1_150);
    expect(mean(drawn(1))).toBeGreaterThan(1_700);
    expect(mean(drawn(2))).toBeGreaterThan(3_400);
  });

  test("is never longer than 30 s, and stays there however often it failed", () => {
    for (const failures of [4, 10, 1_000, 1_000_000]) {
      const pauses = drawn(failures);
      expect(pauses.at(-1)).toBeLessThanOrEqual(30_000);
      expect(pauses.at(-1)).toBeGreaterThan(28_000);
      expect(pauses[0]).toBeGreaterThanOrEqual(0);
    }
  });
});

describe("the pause after a longer outage", () => {
  test.for([
    [0, 2_000],
    [6_000, 2_000],
    [15_000, 5_000],
    [30_000, 10_000],
    [600_000, 30_000],
  ] as const)("is after %i ms no longer than %i ms, however often it failed", ([awayMs, longestMs]) => {
    const pauses = Array.from({ length: 1_000 }, () => backoffMs(20, awayMs)).toSorted(byValue);
    expect(pauses.at(-1)).toBeLessThanOrEqual(longestMs);
    expect(pauses.at(-1)).toBeGreaterThan(longestMs * 0.95);
  });
});

describe("the reply code of a refusal", () => {
  test.for([
    [Object.assign(new Error("Channel closed by server: 404"), { code: 404 }), 404],
    [
      new Error(
        'Handshake terminated by server: 403 (ACCESS-REFUSED) with message "ACCESS_REFUSED - Login was refused"',
      ),
      403,
    ],
    [new Error("Expected ConnectionOpenOk; got <ConnectionClose channel:0>"), 530],
    [Object.assign(new Error("connect ECONNREFUSED 127.0.0.1:40300"), { code: "ECONNREFUSED" }), undefined],
    [new Error("Channel ended, no reply will be forthcoming"), undefined],
    ["403", undefined],
  ] as const)("is read from %s", ([error, code]) => {
    expect(replyCodeOf(error)).toBe(code);
  });
});

function drawn(failures: number): number[] {
  return Array.from({ length: 1_000 }, () => backoffMs(failures)).toSorted(byValue);
}

function mean(values: number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

function byValue(one: number, other: number): number {
  return one - other;
}

function thrownBy(work: () => unknown): unknown {
  try {
    work();
  } catch (error) {
    return error;
  }
  return undefined;
}

test("A dial has 10 s, a node of several 5 s, isAvailable 5 s; topology is re-declared every 5 s, a missing confirm reported every 10 s", () => {
  expect(defaultIntervals).toEqual({
    dialTimeoutMs: 10_000,
    unansweredMs: 5_000,
    refreshMs: 5_000,
    confirmReportMs: 10_000,
    availabilityTimeoutMs: 5_000,
  });
});
