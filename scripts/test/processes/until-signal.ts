/** Prints `up`, then each signal that it gets, and exits after the first with the given exit code. */
const [exitCode = "0"] = process.argv.slice(2);
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.on(signal, () => {
    console.log(`got ${signal}`);
    setTimeout(() => process.exit(Number(exitCode)), 300);
  });
}
setInterval(() => {}, 1_000);
console.log(`up ${process.pid} ${process.version}`);
