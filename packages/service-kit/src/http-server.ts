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

const timeouts = {
  headersTimeout: 10_000,
  requestTimeout: 30_000,
  // Proxies keep idle connections for a minute. Closing later keeps them from sending a request into a closing connection
  keepAliveTimeout: 72_000,
  connectionsCheckingInterval: 5_000,
};

/** Sent with every response. A page sets its own content security policy. */
const securityHeaders = {
  "x-content-type-options": "nosniff",
  "x-frame-options": "DENY",
  "referrer-policy": "no-referrer",
  "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
};

/**
 * The service's HTTP server. It listens before the service has started, so that `/livez` and `/readyz` answer during the
 * start. Fastify serves the routes once `openRoutes` is called.
 */
export class HttpServer {
  readonly fastify: FastifyInstance;
  readonly #server: Server;
  readonly #health: Health;
  #routes: RequestListener | undefined;

  /** @param rateLimitPerMinute  requests per address; undefined: no limit */
  constructor(health: Health, logger: Logger, rateLimitPerMinute?: number) {
    this.#health = health;
    let handler: RequestListener | undefined;
    this.#server = createServer(timeouts, (request, response) => void this.#respond(request, response));
    this.fastify = fastify({
      // Requests may hold personal data: only failures are logged, without the request's content
      logger: false,
      bodyLimit: maxBodyBytes,
      return503OnClosing: false,
      frameworkErrors: (_error, _request, reply) => void send(reply, problemOfStatus(400)),
      clientErrorHandler: (error, socket) => {
        if (!socket.writable) return;
        const status = { HPE_HEADER_OVERFLOW: 431, ERR_HTTP_REQUEST_TIMEOUT: 408 }[error.code] ?? 400;
        socket.end(rawResponse(problemOfStatus(status)));
      },
      serverFactory: (routes) => {
        handler = routes;
        return this.#server;
      },
    });
    respondWithProblems(this.fastify, logger);
    if (rateLimitPerMinute !== undefined) limitRate(this.fastify, rateLimitPerMinute);
    this.fastify.addHook("onReady", () => {
      this.#routes = handler;
    });
  }

  /** @returns the port; for 0 the one that the system chose */
  async listen(host: string, port: number): Promise<number> {
    this.#server.listen(port, host);
    await once(this.#server, "listening");
    const address = this.#server.address();
    return typeof address === "object" && address !== null ? address.port : port;
  }

  /** Passes requests to the routes from now on. */
  async openRoutes(): Promise<void> {
    await this.fastify.ready();
  }

  /** Accepts no more connections, waits `drainMs` for the requests in flight, then cuts them. */
  async close(drainMs: number): Promise<void> {
    if (!this.#server.listening) return;
    const closed = once(this.#server, "close");
    this.#server.close();
    // Runs the plugins' preClose hooks, which end streams such as Server-Sent Events
    await this.fastify.close();
    const timeout = sleep(drainMs, "timeout", { ref: false });
    while ((await Promise.race([closed, timeout, sleep(50, "poll", { ref: false })])) === "poll") {
      // The server does not close while an idle connection is kept alive
      this.#server.closeIdleConnections();
    }
    this.#server.closeAllConnections();
    await closed;
  }

  async #respond(...[request, response]: Parameters<RequestListener>): Promise<void> {
    for (const [name, value] of Object.entries(securityHeaders)) response.setHeader(name, value);
    const path = request.url?.split("?", 1)[0];
    if (path === "/livez") return respond(response, 200, { status: "alive" });
    if (path === "/readyz") {
      const status = await this.#health.status();
      return respond(response, status === "ready" ? 200 : 503, { status });
    }
    if (this.#routes !== undefined) return this.#routes(request, response);
    const detail = "The service is starting. Try again in a moment.";
    respond(response, 503, problem(503, "starting", { detail, retryable: true }), problemContentType);
  }
}

function respond(response: ServerResponse, status: number, body: object, contentType = "application/json"): void {
  response.writeHead(status, {
    "content-type": contentType,
    "cache-control": "no-store",
    ...(status === 503 ? { "retry-after": "1" } : {}),
  });
  response.end(JSON.stringify(body));
}

function respondWithProblems(http: FastifyInstance, logger: Logger): void {
  const methodsOf = new Map<string, Set<string>>();
  http.addHook("onRoute", ({ url, method }) => {
    const methods = methodsOf.get(url) ?? new Set();
    for (const name of [method].flat()) methods.add(name);
    methodsOf.set(url, methods);
  });
  http.setNotFoundHandler((request, reply) => {
    const path = request.url.split("?", 1)[0] ?? "";
    const allowed = [...methodsOf].filter(([pattern]) => matches(pattern, path)).flatMap(([, methods]) => [...methods]);
    if (allowed.length === 0) return send(reply, problem(404, "not_found", { detail: "This path does not exist." }));
    const allow = [...new Set(allowed)].join(", ");
    return send(
      reply,
      problem(405, "method_not_allowed", { detail: `This path supports ${allow}.`, headers: { allow } }),
    );
  });
  http.setErrorHandler((error, request, reply) => {
    const expected = problemOfError(error);
    if (expected !== undefined) return send(reply, expected);
    logger.error({ err: error, method: request.method, route: request.routeOptions.url }, "request failed");
    return send(
      reply,
      problem(500, "internal_error", { detail: "The request failed. The service's log has the reason." }),
    );
  });
}

/** Counts requests to all paths, including those that do not exist. `/livez` and `/readyz` never reach Fastify. */
function limitRate(http: FastifyInstance, perMinute: number): void {
  void http.register(rateLimit, { global: false });
  let count: ReturnType<FastifyInstance["createRateLimit"]> | undefined;
  http.after(() => {
    count = http.createRateLimit({ max: perMinute, timeWindow: rateWindowMs });
  });
  http.addHook("onRequest", async (request) => {
    const counted = await count?.(request);
    if (counted === undefined || counted.isAllowed || !counted.isExceeded) return;
    const detail = `This address sent more than ${perMinute} requests within a minute.`;
    const headers = { "retry-after": String(counted.ttlInSeconds) };
    throw problem(429, "rate_limited", { detail, retryable: true, headers });
  });
}

/** @param pattern  a route's path, such as `/patients/:id` */
function matches(pattern: string, path: string): boolean {
  const parts = pattern.split("/").map((part) => {
    if (part.startsWith(":")) return "[^/]+";
    return part === "*" ? ".*" : part.replaceAll(/[^\w-]/g, "\\$&");
  });
  return new RegExp(`^${parts.join("/")}$`).test(path);
}

function send(reply: FastifyReply, problem: HttpProblem): FastifyReply {
  return reply
    .code(problem.status)
    .headers(problem.headers)
    .type(problemContentType)
    .serializer((body: unknown) => JSON.stringify(body))
    .send(problem.toJSON());
}

/** For a malformed request, for which Node.js creates no response object. */
function rawResponse(problem: HttpProblem): string {
  const body = JSON.stringify(problem);
  return [
    `HTTP/1.1 ${problem.status} ${STATUS_CODES[problem.status]}`,
    `Content-Type: ${problemContentType}`,
    `Content-Length: ${Buffer.byteLength(body)}`,
    "Connection: close",
    ...Object.entries(securityHeaders).map(([name, value]) => `${name}: ${value}`),
    "",
    body,
  ].join("\r\n");
}
