/** Types that the drivers read differently or inexactly. On both databases they are read as text, as PostgreSQL prints them. */
export const asText: ReadonlySet<number> = new Set([
  20, // int8: exceeds the exact integers of JavaScript (2^53)
  1082, // date: a day, not an instant
  1114, // timestamp without time zone: not an instant
  1700, // numeric
]);
