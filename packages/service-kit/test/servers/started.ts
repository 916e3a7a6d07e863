import { fileURLToPath } from "node:url";
import { type ServiceProcess, type StartProcessOptions, startProcess } from "@amqp-idioms/local-servers";

/** Starts a service of `processes/` on a free port. It logs the port before it is ready. */
export function start(name: string, options: StartProcessOptions = {}): Promise<ServiceProcess> {
  const main = fileURLToPath(new URL(`processes/${name}.ts`, import.meta.url));
  return startProcess({ main, ...options, env: { PORT: "0", LOG_LEVEL: "debug", ...options.env } });
}

/** The messages of its log lines, and its other output lines. */
export function messages({ lines }: ServiceProcess): unknown[] {
  return lines.map(({ json, text }) => json?.["msg"] ?? text);
}

/** The URL of its HTTP server, known before it is ready. */
export function urlOf({ lines }: ServiceProcess): string | undefined {
  const port = lines.find(({ json }) => json?.["msg"] === "listening")?.json?.["port"];
  return typeof port === "number" ? `http://127.0.0.1:${port}` : undefined;
}
