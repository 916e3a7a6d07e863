import { randomBytes } from "node:crypto";
import { freePorts } from "../processes/free-ports.ts";

export interface Credentials {
  user: string;
  password: string;
}

/** On 127.0.0.1 */
export interface BrokerPorts {
  amqp: number;
  management: number;
  /** Only with `tls` */
  amqps: number | undefined;
}

/** What a broker needs to accept TLS connections; all PEM. */
export interface BrokerTls {
  ca: string;
  cert: string;
  key: string;
  /** Clients that connect over TLS must present a certificate that `ca` has signed. @default false */
  verifyPeer?: boolean;
}

/** @param hostName  the name or address at which clients connect to the broker */
export type MakeTls = (hostName: string) => Promise<BrokerTls>;

/** `RABBITMQ_IMAGE` runs the tests on another RabbitMQ: an official image with the management plugin. It also applies to private brokers. */
export function rabbitMqImage(env: NodeJS.ProcessEnv = process.env): string {
  return env["RABBITMQ_IMAGE"] || "rabbitmq:4.3-management";
}

export async function brokerPorts(tls?: MakeTls): Promise<BrokerPorts> {
  const [amqp = 0, management = 0, amqps] = await freePorts(tls === undefined ? 2 : 3);
  return { amqp, management, amqps };
}

export function randomCredentials(): Credentials {
  return { user: `local-${randomBytes(3).toString("hex")}`, password: randomBytes(12).toString("hex") };
}

/** Returns the lines of rabbitmq.conf that every broker has. */
export function rabbitMqConfig({ user, password }: Credentials): string[] {
  return [
    `default_user = ${user}`,
    `default_pass = ${password}`,
    // The figures of the management API are at most this old, in ms
    "collect_statistics_interval = 1000",
  ];
}

/** Returns file name → content. */
export function tlsFiles({ ca, cert, key }: BrokerTls): Record<string, string> {
  return { "ca.pem": ca, "cert.pem": cert, "key.pem": key };
}

/** Returns the TLS lines of rabbitmq.conf, for a broker with `tlsFiles` in this folder. The caller adds the listener. */
export function tlsConfig(folder: string, { verifyPeer = false }: BrokerTls): string[] {
  return [
    `ssl_options.cacertfile = ${folder}/ca.pem`,
    `ssl_options.certfile = ${folder}/cert.pem`,
    `ssl_options.keyfile = ${folder}/key.pem`,
    `ssl_options.verify = ${verifyPeer ? "verify_peer" : "verify_none"}`,
    `ssl_options.fail_if_no_peer_cert = ${verifyPeer}`,
  ];
}
