import { replyCodeOf } from "./channel.ts";
import { tlsAdvice } from "./tls.ts";
import { nameOf } from "./url.ts";
import type { Endpoint } from "./url.ts";
import { messageOf } from "../telemetry/log.ts";

/** Why a dial failed, and what to do about it. */

/** Whether no retry can succeed: wrong credentials, virtual host or certificates. */
export function isFatal(error: unknown): boolean {
  const code = replyCodeOf(error);
  return code === 403 || code === 530 || tlsAdvice(error, "") !== undefined;
}

export function adviceFor(error: unknown, endpoint: Endpoint): string {
  const where = nameOf(endpoint);
  const code = replyCodeOf(error);
  if (code === 403)
    return `The broker at ${where} refuses this user or password. Check the credentials in the AMQP URL.`;
  if (code === 530)
    return `The broker refuses ${where}: the virtual host does not exist, or this user may not use it. Check the AMQP URL, and the user's permissions and limits there.`;
  const advice = tlsAdvice(error, where);
  if (advice !== undefined) return advice;
  // A TLS port resets plaintext clients this way, and so does a broker that is shutting down.
  const mayExpectTls = endpoint.protocol === "amqp" && /ECONNRESET|closed abruptly/.test(messageOf(error));
  const hint = mayExpectTls ? " If that port expects TLS, the URL must begin with amqps://." : "";
  return `Cannot connect to the broker at ${where}: ${messageOf(error) || "no reason given"}.${hint}`;
}
