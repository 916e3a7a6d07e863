import { connect as connectTcp } from "node:net";
import { connect as connectTls } from "node:tls";

/** What a broker tells a client during the handshake. */
export interface Handshake {
  version: string;
}

const protocolHeader = Buffer.from("AMQP\0\0\x09\x01", "latin1");
const connectionStart = 0x000a000a;
const connectionTune = 0x000a001e;

/**
 * Opens an AMQP 0-9-1 connection until the broker has accepted the credentials, and closes it. An open port does not mean
 * that a broker answers: Docker's proxy, for instance, listens before the broker does.
 * @throws Error that says why the handshake failed
 */
export async function handshake(url: string, timeoutMs: number): Promise<Handshake> {
  const { protocol, hostname, port, username, password } = new URL(url);
  const isTls = protocol === "amqps:";
  const address = { host: hostname, port: Number(port || (isTls ? 5671 : 5672)) };
  const { promise, resolve, reject } = Promise.withResolvers<Handshake>();
  const socket = isTls ? connectTls({ ...address, servername: hostname }) : connectTcp(address);
  let received = Buffer.alloc(0);
  let version: string | undefined;
  socket
    .setTimeout(timeoutMs, () =>
      reject(new Error(`no answer from ${address.host}:${address.port} within ${timeoutMs} ms`)),
    )
    .on("error", reject)
    .on("close", () => reject(new Error(`${address.host}:${address.port} closed the connection during the handshake`)))
    .on(isTls ? "secureConnect" : "connect", () => socket.write(protocolHeader))
    .on("data", (chunk: Buffer) => {
      received = Buffer.concat([received, chunk]);
      for (let frame = takeFrame(); frame !== undefined; frame = takeFrame()) {
        const method = frame.readUInt32BE(0);
        if (method === connectionStart) {
          version = versionIn(frame);
          socket.write(startOk(decodeURIComponent(username), decodeURIComponent(password)));
        } else if (method === connectionTune) resolve({ version: version ?? "unknown" });
        else reject(new Error(`${address.host}:${address.port} refused the credentials`));
      }
    });
  function takeFrame(): Buffer | undefined {
    if (received.length < 8) return undefined;
    const end = 7 + received.readUInt32BE(3);
    if (received.length <= end) return undefined;
    const payload = received.subarray(7, end);
    received = received.subarray(end + 1);
    return payload;
  }
  try {
    return await promise;
  } finally {
    socket.destroy();
  }
}

/** Finds the table entry `version` in connection.start: its name, "S", a length and the text. */
function versionIn(frame: Buffer): string | undefined {
  const name = Buffer.from("\x07versionS", "latin1");
  const at = frame.indexOf(name);
  if (at < 0) return undefined;
  const length = frame.readUInt32BE(at + name.length);
  const start = at + name.length + 4;
  return frame.toString("utf8", start, start + length);
}

function startOk(user: string, password: string): Buffer {
  // Without the capability authentication_failure_close a broker drops the connection after a second, without a reason
  const capability = Buffer.concat([shortText("authentication_failure_close"), Buffer.from("t\x01", "latin1")]);
  const properties = Buffer.concat([shortText("capabilities"), Buffer.from("F"), long(capability.length), capability]);
  const payload = Buffer.concat([
    Buffer.from([0, 10, 0, 11]),
    long(properties.length),
    properties,
    shortText("PLAIN"),
    longText(`\0${user}\0${password}`),
    shortText("en_US"),
  ]);
  return Buffer.concat([Buffer.from([1, 0, 0]), long(payload.length), payload, Buffer.from([0xce])]);
}

function long(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

function shortText(text: string): Buffer {
  return Buffer.concat([Buffer.from([text.length]), Buffer.from(text)]);
}

function longText(text: string): Buffer {
  const bytes = Buffer.from(text);
  return Buffer.concat([long(bytes.length), bytes]);
}
