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
