/**
 * How many of them there are per second: `inFlight` at a time, each begun when one has ended.
 * @param once  one of them; `sign` says when to stop, for one that takes long
 */
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

/** Resolves when it was called `count` times. */
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
