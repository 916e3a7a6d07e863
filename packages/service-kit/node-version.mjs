/* Preloaded by `node --import @amqp-idioms/service-kit/node-version src/main.ts`. Old versions must be able to read this file. */
var oldest = 26;
var running = Number(process.versions.node.split(".")[0]);

if (running < oldest) {
  process.stderr.write(
    "This needs Node.js " +
      oldest +
      " or newer, and this is " +
      process.version +
      " (" +
      process.execPath +
      ").\n" +
      "The project's own is in node_modules/.bin: run it by an npm or pnpm script, or put that folder first on your PATH.\n",
  );
  process.exit(1);
}
