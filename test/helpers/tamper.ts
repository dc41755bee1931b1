/** One way to spoil each kind of managed item on a host, as a careless administrator would. */
import type { Lab } from "./lab.ts";

export interface Tampering {
  item: string;
  /** Other items that can't be as declared either while this one isn't. */
  withIt: string[];
  spoil(): Promise<unknown>;
}

/** What belongs to the group bitcoin, and so to a number without a name when it is gone. */
const OF_THE_GROUP = [
  "directory:/srv/lightning/lightning",
  "directory:/srv/lightning/lightning/regtest",
  "directory:/var/lib/twofold/witness/alice",
  "file:/var/lib/twofold/node/start.lock",
  "key:/etc/twofold/keys/witness",
  "file:/etc/lightningd/lightningd.conf",
  "file:/etc/twofold/gate.json",
];

/** Items that can't be as declared, or of which nothing can be said, without a package. */
const NEEDING: Record<string, string[]> = {
  "btrfs-progs": ["stage:storage"],
  cron: ["unit:cron.service"],
};

/** @throws if no way is known: every kind of item has to have one, or the test would pass it over. */
export function tampering(lab: Lab, host: string, item: string): Tampering {
  const colon = item.indexOf(":");
  const kind = item.slice(0, colon);
  const what = item.slice(colon + 1);
  const sh = (script: string, ...words: string[]) => lab.exec(host, "sh", "-euc", script, "sh", what, ...words);
  const plain = (spoil: () => Promise<unknown>): Tampering => ({ item, withIt: [], spoil });
  switch (kind) {
    case "package":
      // Debian's sshd is linked to this library: dpkg alone takes it for removed, so that the host can still be reached.
      if (what === "libsqlite3-0")
        return plain(() =>
          sh('sed -i "/^Package: $1$/,/^$/s/^Status: .*/Status: deinstall ok config-files/" /var/lib/dpkg/status'),
        );
      return {
        item,
        withIt: NEEDING[what] ?? [],
        spoil: () => sh('dpkg --force-depends --force-remove-protected --remove "$1"'),
      };
    case "group":
      // groupdel refuses a user's primary group; a careless editor of the file does not.
      return {
        item,
        withIt: what === "bitcoin" ? OF_THE_GROUP : [],
        spoil: () => sh('sed -i "/^$1:/d" /etc/group'),
      };
    case "user":
      // userdel refuses an account with processes; a careless editor of the files does not.
      return {
        item,
        withIt: what === "bitcoin" ? OF_THE_GROUP : [],
        spoil: () => sh('sed -i "/^$1:/d" /etc/passwd /etc/shadow'),
      };
    case "file":
      // A lock has no content.
      if (what.endsWith(".lock")) return plain(() => sh('chmod 0666 "$1"'));
      return {
        item,
        // systemd is to be told, and lightningd runs by the unit as it was.
        withIt: what.includes("lightningd.service") ? ["unit:lightningd.service"] : [],
        spoil: () => sh('printf "# tampered\\n" >> "$1"'),
      };
    case "directory":
      // A mount point is seen once nothing is mounted on it.
      if (what === "/srv/lightning")
        return {
          item,
          withIt: [`mount:${what}`, "unit:lightningd.service", "unit:twofold-witness.timer"],
          spoil: () =>
            sh('systemctl stop lightningd twofold-witness.timer && umount "$1"; chattr -i "$1" || :; chmod 0777 "$1"'),
        };
      // The home of an account is its owner's; that it is there is what is managed.
      if (what === "/var/lib/bitcoin") return plain(() => sh('mv "$1" "$1.away"'));
      return plain(() => sh('chmod 0777 "$1"'));
    case "symlink":
      return plain(() => sh('ln -sfn /nonexistent "$1"'));
    case "fstab":
      return plain(() => sh('grep -v " $1 " /etc/fstab > /tmp/fstab; cat /tmp/fstab > /etc/fstab'));
    case "mount":
      return {
        item,
        withIt: ["unit:lightningd.service", "unit:twofold-witness.timer"],
        spoil: () => sh('systemctl stop lightningd twofold-witness.timer && umount "$1"'),
      };
    case "volume":
      return plain(() => sh("btrfs balance start -f -dconvert=single /srv/lightning"));
    case "unit":
      return plain(() => sh('systemctl disable "$1"'));
    case "program":
      return plain(() => sh('printf "#" >> "$1/usr/bin/lightning-cli"'));
    case "key":
      return plain(() => sh('chmod 0644 "$1"'));
    case "journal-mode":
      return {
        item,
        withIt: ["unit:lightningd.service"],
        spoil: () => sh('systemctl stop lightningd && runuser -u bitcoin -- sqlite3 "$1" "PRAGMA journal_mode=DELETE"'),
      };
    default:
      throw new Error(`no way to tamper with ${item}: add one`);
  }
}
