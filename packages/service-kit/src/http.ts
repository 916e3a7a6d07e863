import { once } from "node:events";
import { createServer, type RequestListener, type Server, type ServerResponse, STATUS_CODES } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import rateLimit from "@fastify/rate-limit";
import { fastify, type FastifyInstance, type FastifyReply } from "fastify";
import type { Health } from "./health.ts";
import type { Logger } from "./logger.ts";
import { type HttpProblem, problem, problemContentType, problemOfError, problemOfStatus } from "./problem.ts";

const maxBodyBytes = 2 ** 20;
const rateWindowMs = 60_000;

/**
 * How long a client may take for its headers, and for the whole request; and how long a connection may be idle, longer than the minute
 * that proxies keep theirs, so that none sends a request into a connection that is just being closed. How late that is noticed, too.
 */
const timeouts = {
  headersTimeout: 10_000,
  requestTimeout: 30_000,
  keepAliveTimeout: 72_000,
  connectionsCheckingInterval: 5_000,
};

/** Of every answer. A page that is to show something has a content security policy of its own. */
const securityHeaders = {
  "x-content-type-options": "nosniff",
  "x-frame-options": "DENY",
  "referrer-policy": "no-referrer",
  "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
};

/**
 * The HTTP door: one server that listens from the first moment on, so that `/livez` and `/readyz` answer while the service
 * still starts, and behind it Fastify with the service's own routes, opened when it has started.
 */
export class HttpDoor {
  readonly fastify: FastifyInstance;
  readonly #server: Server;
  readonly #health: Health;
  #routes: RequestListener | undefined;

  /** @param rateLimitPerMinute  requests of one address; undefined: any number */
  constructor(health: Health, logger: Logger, rateLimitPerMinute?: number) {
    this.#health = health;
    let handler: RequestListener | undefined;
    this.#server = createServer(timeouts, (request, response) => void this.#answer(request, response));
    this.fastify = fastify({
      // What clients send may be personal: only what fails is logged, without it
      logger: false,
      bodyLimit: maxBodyBytes,
      return503OnClosing: false,
      frameworkErrors: (_error, _request, reply) => void send(reply, problemOfStatus(400)),
      clientErrorHandler: (error, socket) => {
        if (!socket.writable) return;
        const status = { HPE_HEADER_OVERFLOW: 431, ERR_HTTP_REQUEST_TIMEOUT: 408 }[error.code] ?? 400;
        socket.end(rawAnswer(problemOfStatus(status)));
      },
      serverFactory: (routes) => {
        handler = routes;
        return this.#server;
      },
    });
    answerWithProblems(this.fastify, logger);
    if (rateLimitPerMinute !== undefined) limitRate(this.fastify, rateLimitPerMinute);
    this.fastify.addHook("onReady", () => {
      this.#routes = handler;
    });
  }

  /** @returns the port, as chosen by the system for 0 */
  async listen(host: string, port: number): Promise<number> {
    this.#server.listen(port, host);
    await once(this.#server, "listening");
    const address = this.#server.address();
    return typeof address === "object" && address !== null ? address.port : port;
  }

  /** Lets requests through to the routes. */
  async open(): Promise<void> {
    await this.fastify.ready();
  }

  /** Takes no new connection, lets requests in hand finish for `drainMs`, then cuts them. */
  async close(drainMs: number): Promise<void> {
    if (!this.#server.listening) return;
    const closed = once(this.#server, "close");
    this.#server.close();
    // Hooks of its plugins: streams that would never end by themselves are ended by preClose
    await this.fastify.close();
    const tooLate = sleep(drainMs, "too late", { ref: false });
    while ((await Promise.race([closed, tooLate, sleep(50, "again", { ref: false })])) === "again") {
      // A kept connection that has become idle would hold it up
      this.#server.closeIdleConnections();
    }
    this.#server.closeAllConnections();
    await closed;
  }

  async #answer(...[request, response]: Parameters<RequestListener>): Promise<void> {
    for (const [name, value] of Object.entries(securityHeaders)) response.setHeader(name, value);
    const path = request.url?.split("?", 1)[0];
    if (path === "/livez") return answer(response, 200, { status: "alive" });
    if (path === "/readyz") {
      const status = await this.#health.status();
      return answer(response, status === "ready" ? 200 : 503, { status });
    }
    if (this.#routes !== undefined) return this.#routes(request, response);
    const detail = "The service is starting: try again in a moment.";
    answer(response, 503, problem(503, "starting", { detail, retryable: true }), problemContentType);
  }
}

function answer(response: ServerResponse, status: number, body: object, contentType = "application/json"): void {
  response.writeHead(status, {
    "content-type": contentType,
    "cache-control": "no-store",
    ...(status === 503 ? { "retry-after": "1" } : {}),
  });
  response.end(JSON.stringify(body));
}

function answerWithProblems(http: FastifyInstance, logger: Logger): void {
  const methodsOf = new Map<string, Set<string>>();
  http.addHook("onRoute", ({ url, method }) => {
    const methods = methodsOf.get(url) ?? new Set();
    for (const one of [method].flat()) methods.add(one);
    methodsOf.set(url, methods);
  });
  http.setNotFoundHandler((request, reply) => {
    const path = request.url.split("?", 1)[0] ?? "";
    const allowed = [...methodsOf].filter(([pattern]) => matches(pattern, path)).flatMap(([, methods]) => [...methods]);
    if (allowed.length === 0)
      return send(reply, problem(404, "not_found", { detail: "There is nothing at this path." }));
    const allow = [...new Set(allowed)].join(", ");
    return send(reply, problem(405, "method_not_allowed", { detail: `This path knows ${allow}.`, headers: { allow } }));
  });
  http.setErrorHandler((error, request, reply) => {
    const expected = problemOfError(error);
    if (expected !== undefined) return send(reply, expected);
    logger.error({ err: error, method: request.method, route: request.routeOptions.url }, "a request failed");
    return send(reply, problem(500, "internal_error", { detail: "The request failed. The service's log says why." }));
  });
}

/** Whatever path is asked for, also one that is not there; `/livez` and `/readyz` are answered before it. */
function limitRate(http: FastifyInstance, perMinute: number): void {
  void http.register(rateLimit, { global: false });
  let count: ReturnType<FastifyInstance["createRateLimit"]> | undefined;
  http.after(() => {
    count = http.createRateLimit({ max: perMinute, timeWindow: rateWindowMs });
  });
  http.addHook("onRequest", async (request) => {
    const counted = await count?.(request);
    if (counted === undefined || counted.isAllowed || !counted.isExceeded) return;
    const detail = `There were more than ${perMinute} requests from this address within a minute.`;
    const headers = { "retry-after": String(counted.ttlInSeconds) };
    throw problem(429, "rate_limited", { detail, retryable: true, headers });
  });
}

/** @param pattern  a route's, such as `/patients/:id` */
function matches(pattern: string, path: string): boolean {
  const parts = pattern.split("/").map((part) => {
    if (part.startsWith(":")) return "[^/]+";
    return part === "*" ? ".*" : part.replaceAll(/[^\w-]/g, "\\$&");
  });
  return new RegExp(`^${parts.join("/")}$`).test(path);
}

function send(reply: FastifyReply, answer: HttpProblem): FastifyReply {
  return reply
    .code(answer.status)
    .headers(answer.headers)
    .type(problemContentType)
    .serializer((body: unknown) => JSON.stringify(body))
    .send(answer.toJSON());
}

/** For a request that was too broken to get a response object. */
function rawAnswer(answer: HttpProblem): string {
  const body = JSON.stringify(answer);
  return [
    `HTTP/1.1 ${answer.status} ${STATUS_CODES[answer.status]}`,
    `Content-Type: ${problemContentType}`,
    `Content-Length: ${Buffer.byteLength(body)}`,
    "Connection: close",
    ...Object.entries(securityHeaders).map(([name, value]) => `${name}: ${value}`),
    "",
    body,
  ].join("\r\n");
}
