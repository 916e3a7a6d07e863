import { readFile } from "node:fs/promises";
import type { FastifyPluginAsync } from "fastify";

/** Allows only scripts, styles and requests of this service, and no frames. */
const contentSecurityPolicy =
  "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; form-action 'none'; base-uri 'none'; frame-ancestors 'none'";

const files = [
  { path: "/", url: new URL("page/index.html", import.meta.url), type: "text/html; charset=utf-8" },
  { path: "/page.js", url: new URL("page/page.js", import.meta.url), type: "text/javascript; charset=utf-8" },
  { path: "/page.css", url: new URL("page/page.css", import.meta.url), type: "text/css; charset=utf-8" },
];

/** Serves a page to try the API. */
export const tryItPage: FastifyPluginAsync = async (http) => {
  for (const { path, url, type } of files) {
    const content = await readFile(url);
    http.get(path, { schema: { hide: true } }, async (_request, reply) =>
      reply.header("content-security-policy", contentSecurityPolicy).type(type).send(content),
    );
  }
};
