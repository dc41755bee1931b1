/** JSON that can be compared. */

/** JSON with sorted keys: equal documents give equal text. */
export function canonicalJson(value: unknown): string {
  const sort = (inner: unknown): unknown =>
    Array.isArray(inner)
      ? inner.map(sort)
      : typeof inner === "object" && inner !== null
        ? Object.fromEntries(
            Object.entries(inner)
              .sort(([a], [b]) => (a < b ? -1 : 1))
              .map(([key, each]) => [key, sort(each)]),
          )
        : inner;
  return `${JSON.stringify(sort(value), null, 2)}\n`;
}
