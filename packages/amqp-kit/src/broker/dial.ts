import amqplib from "amqplib";
import type { ChannelModel, Options, SocketOptions } from "amqplib";
import type { Endpoint } from "./url.ts";

/** Opens one amqplib connection. The only file that loads amqplib. */

export interface DialOptions {
  /** Shown in the broker's list of connections. */
  connectionName: string;
  timeoutMs: number;
  /** Aborting it destroys the socket. If the connection is lost afterwards, the abort's reason is the reason. */
  abortSocket: AbortController;
  /**
   * The connection can no longer be used. Called from within amqplib's own events: on its error, and again when it has closed.
   * Not only on `close`, since a connection that amqplib closes by itself accepts nothing any more but emits `close` with the broker's answer.
   */
  onLost: (model: ChannelModel, reason: Error | undefined) => void;
}

export interface Dialled {
  /** A connection on which a channel was opened. */
  model: ChannelModel;
  /** Resolves when the connection has closed. */
  closed: Promise<void>;
}

/** Connects to one endpoint. @throws what the network or the broker gives as the reason */
export async function dial(endpoint: Endpoint, options: DialOptions): Promise<Dialled> {
  const { timeoutMs, abortSocket, onLost } = options;
  const timer = setTimeout(() => abortSocket.abort(), timeoutMs);
  let reason: Error | undefined;
  try {
    const model = await amqplib.connect(connectOptions(endpoint), socketOptions(endpoint, options));
    model.on("error", (error) => {
      reason = abortSocket.signal.aborted ? abortSocket.signal.reason : error;
      onLost(model, reason);
    });
    let isClosed = false;
    const closed = new Promise<void>((resolve) => {
      model.once("close", (error?: Error) => {
        isClosed = true;
        reason ??= error;
        onLost(model, reason);
        resolve();
      });
    });
    await Promise.race([openChannel(model), closed]);
    if (isClosed) throw new Error("closed");
    return { model, closed };
  } catch (error) {
    if (abortSocket.signal.aborted) throw new Error(`it did not answer within ${timeoutMs} ms`, { cause: error });
    throw reason ?? error;
  } finally {
    clearTimeout(timer);
  }
}

/** Proves that the connection lives: one that was lost with the last bytes of the handshake has already emitted its `close`. */
async function openChannel(model: ChannelModel): Promise<void> {
  const channel = await model.createChannel();
  await channel.close();
}

function connectOptions(endpoint: Endpoint): Options.Connect {
  const { protocol, hostname, port, username, password, virtualHost, heartbeat } = endpoint;
  const vhost = encodeURIComponent(virtualHost);
  return { protocol, hostname, port, username, password, vhost, ...(heartbeat && { heartbeat }) };
}

function socketOptions({ secureContext }: Endpoint, { connectionName, abortSocket }: DialOptions): SocketOptions {
  // Sockets of Node.js accept a signal: the only way to destroy one that amqplib holds, even if it is frozen or still connecting.
  const abort = { signal: abortSocket.signal };
  return {
    noDelay: true,
    keepAlive: true,
    clientProperties: { connection_name: connectionName },
    // Set explicitly, so that it holds even if NODE_TLS_REJECT_UNAUTHORIZED=0 is set. amqplib adds the host name to verify.
    rejectUnauthorized: true,
    ...(secureContext && { secureContext }),
    ...abort,
  };
}

/** amqplib is closing the channel or its connection: it accepts nothing any more, and is lost soon. */
export function isClosingError(error: unknown): boolean {
  return error instanceof amqplib.IllegalOperationError;
}
