/** Types that the drivers read differently, or not exactly: on both databases they are text, as PostgreSQL prints them. */
export const asText: ReadonlySet<number> = new Set([
  20, // int8: JavaScript's numbers end at 2^53
  1082, // date: a day is no instant
  1114, // timestamp without time zone: the same
  1700, // numeric
]);
