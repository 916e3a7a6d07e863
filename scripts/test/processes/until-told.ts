/** Says that it is up, tells each signal it gets, and ends at the first with the exit code it was given. */
const [exitCode = "0"] = process.argv.slice(2);
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.on(signal, () => {
    console.log(`got ${signal}`);
    setTimeout(() => process.exit(Number(exitCode)), 300);
  });
}
setInterval(() => {}, 1_000);
console.log(`up ${process.pid} ${process.version}`);
