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
  /** With `tls` only */
  amqps: number | undefined;
}

/** What a broker needs to be reached by TLS, too; all PEM. */
export interface BrokerTls {
  ca: string;
  cert: string;
  key: string;
  /** Whoever connects by TLS must show a certificate that `ca` has signed. @default false */
  verifyPeer?: boolean;
}

/** @param hostName  where clients will reach the broker: a name or an address */
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

/** Lines of rabbitmq.conf, wherever it runs. */
export function rabbitMqConfig({ user, password }: Credentials): string[] {
  return [
    `default_user = ${user}`,
    `default_pass = ${password}`,
    // What the management API shows is at most this old, in ms
    "collect_statistics_interval = 1000",
  ];
}

/** File name → content */
export function tlsFiles({ ca, cert, key }: BrokerTls): Record<string, string> {
  return { "ca.pem": ca, "cert.pem": cert, "key.pem": key };
}

/** The same, for a broker that finds `tlsFiles` in this folder; where it listens is left to the caller. */
export function tlsConfig(folder: string, { verifyPeer = false }: BrokerTls): string[] {
  return [
    `ssl_options.cacertfile = ${folder}/ca.pem`,
    `ssl_options.certfile = ${folder}/cert.pem`,
    `ssl_options.keyfile = ${folder}/key.pem`,
    `ssl_options.verify = ${verifyPeer ? "verify_peer" : "verify_none"}`,
    `ssl_options.fail_if_no_peer_cert = ${verifyPeer}`,
  ];
}
