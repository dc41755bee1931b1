/** Shared libraries that lightningd's programs need. */

/** Debian and Ubuntu packages of the libraries that Core Lightning's releases are linked with. */
const PACKAGES: Record<string, string> = {
  "libpq.so.5": "libpq5",
  "libsodium.so.23": "libsodium23",
  "libsqlite3.so.0": "libsqlite3-0",
  "libz.so.1": "zlib1g",
  "libgmp.so.10": "libgmp10",
};

/** Names of libraries that `ldd` could not find, each once. */
export function parseLdd(output: string): string[] {
  const missing = [...output.matchAll(/^\s*(\S+) => not found$/gm)].map(([, name]) => name ?? "");
  return [...new Set(missing)].sort();
}

/** "libpq.so.5 (package libpq5)", for an error. */
export function describeLibrary(name: string): string {
  const found = PACKAGES[name];
  return found ? `${name} (package ${found})` : `${name} (search packages.debian.org for the package)`;
}

/** True for a file that the dynamic loader handles; scripts have no libraries. */
export function isElf(beginning: Uint8Array): boolean {
  return beginning[0] === 0x7f && Buffer.from(beginning.subarray(1, 4)).toString("latin1") === "ELF";
}
