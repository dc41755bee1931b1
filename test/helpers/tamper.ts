/** One way to spoil each kind of managed item on a host, as a careless administrator would. */
import type { Lab } from "./lab.ts";

export interface Tampering {
  item: string;
  /** Other items that can't be as declared either while this one isn't: `check` names each of them. */
  withIt: string[];
  /** Other items that `repair` changes: each of `withIt` that isn't right again by itself, and what only follows, as a restart does. */
  repairs: string[];
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

/** What belongs to the account bitcoin itself, and to nobody when it is gone. */
const OF_THE_ACCOUNT = [
  "directory:/srv/lightning/lightning",
  "directory:/srv/lightning/lightning/regtest",
  "directory:/var/lib/twofold/witness/alice",
  "key:/etc/twofold/keys/witness",
];

/** Items that can't be as declared, or of which nothing can be said, without a package. */
const NEEDING: Record<string, string[]> = {
  "btrfs-progs": ["stage:storage"],
  cron: ["unit:cron.service"],
};

const UNITS = "/etc/systemd/system";
/** Files after whose change a unit is started anew. */
const ACTED_ON: Record<string, string[]> = {
  "unit:lightningd.service": ["/etc/lightningd/lightningd.conf", `${UNITS}/lightningd.service`],
  "unit:twofold-witness.timer": [
    `${UNITS}/lightningd.service.d/twofold-witness.conf`,
    `${UNITS}/twofold-witness.service`,
    `${UNITS}/twofold-witness.timer`,
  ],
  "unit:twofold-alerts.timer": [`${UNITS}/twofold-alerts.service`, `${UNITS}/twofold-alerts.timer`],
};

/** @throws if no way is known: every kind of item has to have one, or the test would pass it over. */
export function tampering(lab: Lab, host: string, item: string): Tampering {
  const colon = item.indexOf(":");
  const kind = item.slice(0, colon);
  const what = item.slice(colon + 1);
  const spoiled = (script: string, withIt: string[] = [], repairs: string[] = []): Tampering => ({
    item,
    withIt,
    repairs,
    spoil: () => lab.exec(host, "sh", "-euc", script, "sh", what),
  });
  switch (kind) {
    case "package":
      // Debian's sshd is linked to this library: dpkg alone takes it for removed, so that the host can still be reached.
      if (what === "libsqlite3-0")
        return spoiled(
          'sed -i "/^Package: $1$/,/^$/s/^Status: .*/Status: deinstall ok config-files/" /var/lib/dpkg/status',
        );
      return spoiled('dpkg --force-depends --force-remove-protected --remove "$1"', NEEDING[what]);
    case "group":
      // groupdel refuses a user's primary group; a careless editor of the file does not.
      return spoiled('sed -i "/^$1:/d" /etc/group', what === "bitcoin" ? OF_THE_GROUP : []);
    case "user":
      // userdel refuses an account with processes; a careless editor of the files does not.
      return spoiled('sed -i "/^$1:/d" /etc/passwd /etc/shadow', what === "bitcoin" ? OF_THE_ACCOUNT : []);
    case "file":
      // A lock has no content.
      if (what.endsWith(".lock")) return spoiled('chmod 0666 "$1"');
      return spoiled(
        'printf "# tampered\\n" >> "$1"',
        // Of a changed drop-in systemd says that its unit has to be read again.
        what.endsWith("/twofold-witness.conf") ? ["unit:lightningd.service"] : [],
        Object.entries(ACTED_ON).flatMap(([unit, files]) => (files.includes(what) ? [unit] : [])),
      );
    case "directory":
      // A mount point is seen once nothing is mounted on it.
      if (what === "/srv/lightning")
        return spoiled(
          'systemctl stop lightningd twofold-witness.timer && umount "$1"; chattr -i "$1" || :; chmod 0777 "$1"',
          [`mount:${what}`, "unit:twofold-witness.timer"],
          [`mount:${what}`, "unit:twofold-witness.timer", "unit:lightningd.service"],
        );
      // The home of an account is its owner's; that it is there is what is managed.
      if (what === "/var/lib/bitcoin") return spoiled('mv "$1" "$1.away"');
      return spoiled('chmod 0777 "$1"');
    case "symlink":
      return spoiled('ln -sfn /nonexistent "$1"', [], what === "/opt/twofold/bin" ? ["unit:lightningd.service"] : []);
    case "fstab":
      return spoiled('grep -v " $1 " /etc/fstab > /tmp/fstab; cat /tmp/fstab > /etc/fstab');
    case "mount":
      return spoiled(
        'systemctl stop lightningd twofold-witness.timer && umount "$1"',
        ["unit:twofold-witness.timer"],
        ["unit:twofold-witness.timer", "unit:lightningd.service"],
      );
    case "volume":
      return spoiled("btrfs balance start -f -dconvert=single /srv/lightning");
    case "unit":
      return spoiled('systemctl disable "$1"');
    case "program":
      return spoiled('printf "#" >> "$1/usr/bin/lightning-cli"', [], ["unit:lightningd.service"]);
    case "key":
      return spoiled('chmod 0644 "$1"');
    case "journal-mode":
      return spoiled(
        'systemctl stop lightningd && runuser -u bitcoin -- sqlite3 "$1" "PRAGMA journal_mode=DELETE"',
        ["unit:lightningd.service"],
        ["unit:lightningd.service"],
      );
    default:
      throw new Error(`no way to tamper with ${item}: add one`);
  }
}
