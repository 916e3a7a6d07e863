/** Runs `once` again and again, `inFlight` at a time, after a warm-up of a quarter of the time. @returns runs per second */
export async function rateOf(seconds: number, inFlight: number, once: () => Promise<unknown>): Promise<number> {
  await during(seconds / 4, inFlight, once);
  return during(seconds, inFlight, once);
}

async function during(seconds: number, inFlight: number, once: () => Promise<unknown>): Promise<number> {
  const startedAt = performance.now();
  const endsAt = startedAt + seconds * 1000;
  let count = 0;
  const one = async (): Promise<void> => {
    while (performance.now() < endsAt) {
      await once();
      count += 1;
    }
  };
  await Promise.all(Array.from({ length: inFlight }, one));
  return perSecond(count, startedAt);
}

export function perSecond(count: number, startedAt: number): number {
  return (count * 1000) / (performance.now() - startedAt);
}

export function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
}

/** `done` resolves when `count` has been called that many times. */
export function counter(count: number): { count: () => void; done: Promise<void> } {
  const { promise, resolve } = Promise.withResolvers<void>();
  let left = count;
  return {
    count: () => {
      left -= 1;
      if (left === 0) resolve();
    },
    done: promise,
  };
}
