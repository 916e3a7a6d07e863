import { request } from "node:http";
import { text } from "node:stream/consumers";

export interface HttpAnswer {
  status: number;
  body: string;
}

/** Opens a connection for each request, because one that stays open would count as a leak of the service. */
export async function send(
  url: string,
  options: { method: string; headers?: Record<string, string>; body?: string; timeoutMs: number },
): Promise<HttpAnswer> {
  const { method, headers = {}, body, timeoutMs } = options;
  const { promise, resolve, reject } = Promise.withResolvers<HttpAnswer>();
  const outgoing = request(url, { method, headers, agent: false, signal: AbortSignal.timeout(timeoutMs) }, (answer) => {
    text(answer).then((body) => resolve({ status: answer.statusCode ?? 0, body }), reject);
  });
  outgoing.on("error", reject).end(body);
  return promise;
}

export function get(url: string, timeoutMs: number): Promise<HttpAnswer> {
  return send(url, { method: "GET", timeoutMs });
}
