import { once } from "node:events";
import { type AddressInfo, createServer, type Socket } from "node:net";

export const services = ["market", "board", "till", "billing", "warehouse"] as const;
export const channelCloseOk = "20.41";

export function withCredentials(url: string, user: string, password: string): string {
  return url.replace(/\/\/[^@]*@/, `//${encodeURIComponent(user)}:${encodeURIComponent(password)}@`);
}

export async function rejection(promise: Promise<unknown>): Promise<Error> {
  const outcome = await promise.then(
    () => new Error("it did not reject"),
    (error: unknown) => error,
  );
  return outcome instanceof Error ? outcome : new Error(`not an Error: ${String(outcome)}`);
}

/** All that a log or an uncaught error would show. */
export function everythingOf(error: Error | undefined, lines: readonly object[] = []): string {
  const parts: string[] = [JSON.stringify(lines)];
  for (let one: unknown = error; one instanceof Error; one = one.cause)
    parts.push(String(one), one.stack ?? "", JSON.stringify(one));
  return parts.join("\n");
}

/** A server that is no broker. */
export async function listenOn(onConnection: (socket: Socket) => void): Promise<AsyncDisposable & { url: string }> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket.on("error", () => undefined));
    onConnection(socket);
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  return {
    url: `amqp://127.0.0.1:${port}`,
    async [Symbol.asyncDispose]() {
      server.close();
      for (const socket of sockets) socket.destroy();
      await once(server, "close");
    },
  };
}
