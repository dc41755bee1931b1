/** Names and words of systemd. */

/** The mount unit of an absolute path (systemd.unit(5), "String Escaping for Inclusion in Unit Names"). */
export function mountUnitName(path: string): string {
  return `${escapePath(path)}.mount`;
}

/** `systemd-escape --path`. */
export function escapePath(path: string): string {
  const trimmed = path.replace(/\/+/g, "/").replace(/^\/|\/$/g, "");
  if (trimmed === "") return "-";
  return [...Buffer.from(trimmed)]
    .map((byte, index) => {
      const char = String.fromCharCode(byte);
      if (char === "/") return "-";
      if (/[A-Za-z0-9:_]/.test(char) || (char === "." && index > 0)) return char;
      return `\\x${byte.toString(16).padStart(2, "0")}`;
    })
    .join("");
}

/** A path as one word of a unit file's list: specifiers and quotes lose their meaning (systemd.syntax(7), "Quoting"). */
export function unitWord(path: string): string {
  const escaped = path.replace(/%/g, "%%").replace(/[\\"]/g, "\\$&");
  return /[\s"\\']/.test(path) ? `"${escaped}"` : escaped;
}
