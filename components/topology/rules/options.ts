import type { Topology } from "../schema.ts";
import type { Rule, Violation } from "./rule.ts";

/** Options of lightningd (lightningd-config(5), v26.06) that twofold sets itself, and from what. */
const OWNED: Record<string, string> = {
  wallet: "node.wallet and node.volume say where main and replica are, and the gate checks those",
  network: "node.network says it",
  mainnet: "node.network says it",
  testnet: "node.network says it",
  testnet4: "node.network says it",
  signet: "node.network says it",
  regtest: "node.network says it",
  "lightning-dir": "node.directory says it",
  conf: "the unit names the file that twofold writes",
  daemon: "systemd has to see lightningd as the unit's main process",
  "pid-file": "its lock keeps a second lightningd out, where the gate looks for it",
  "rpc-file": "the verbs and the witness ask lightningd at its usual socket",
  "log-file": "the journal has the log, where status and alarms read it; filter it with journalctl -u lightningd",
  help: "lightningd prints a text and ends",
  version: "lightningd prints a text and ends",
};

/** Options whose value is a secret, and where it belongs instead. */
const SECRET: Record<string, string> = {
  "bitcoin-rpcpassword":
    "put rpcpassword into a bitcoin.conf of mode 0600 on the node's host and name its directory with bitcoin-datadir, or let the cookie do",
  "tor-service-password": "let Tor use cookie authentication",
  recover: "put the hsm_secret in place on the host itself (README, recovery)",
  "exposesecret-passphrase": "set it on the host for as long as it is needed",
  "experimental-lsps2-promise-secret": "set it on the host for as long as it is needed",
};

/** Options that take away a part of what protects the node. */
const HARMFUL: Record<string, { why: string; fix: string }> = {
  include: {
    why: "an included file can set any option, the wallet too, and no rule and no preview sees it",
    fix: "write its options here",
  },
  "hsm-passphrase": {
    why: "lightningd asks for it on a terminal at every start; a unit has none, so the node would not come back after a reboot and HTLCs would expire",
    fix: "use an hsm_secret without a passphrase on a disk that is yours",
  },
  "encrypted-hsm": {
    why: "lightningd asks for it on a terminal at every start; a unit has none, so the node would not come back after a reboot and HTLCs would expire",
    fix: "use an hsm_secret without a passphrase on a disk that is yours",
  },
  "clear-plugins": {
    why: "it takes away chanbackup, the plugin that writes emergency.recover: the last way to one's channels when every copy is gone",
    fix: "name the plugins that are not wanted with disable-plugin",
  },
};

const path = (name: string) => `twofold:node.options.${name}`;
const each = (topology: Topology, violation: (name: string) => Violation | undefined): Violation[] =>
  Object.keys(topology.node.options).flatMap((name) => violation(name) ?? []);

/** An option's values, as the several lines that they become. */
function values(topology: Topology, name: string): string[] {
  const value = topology.node.options[name];
  return (Array.isArray(value) ? value : value === undefined ? [] : [value]).map(String);
}

/** A DSN that has one: postgres://user:PASSWORD@host, or password=… among its parameters. */
const hasPassword = (value: string): boolean => /:\/\/[^/@]*:[^/@]+@|[?&\s]password=/i.test(value);

const owned: Rule = {
  code: "OPTION_OWNED",
  why: "twofold sets it",
  fix: "remove it",
  check: (topology) =>
    each(topology, (name) => {
      const why = Object.hasOwn(OWNED, name) ? OWNED[name] : undefined;
      if (why === undefined) return undefined;
      const violation = { path: path(name), what: "this option is set by twofold", why };
      if (!values(topology, name).some(hasPassword)) return { ...violation, received: topology.node.options[name] };
      return {
        ...violation,
        what: "this option is set by twofold, and there is a password in it",
        received: "(not shown)",
        why: "lightningd logs the whole of it when it can't connect, and the stack's config shows it to whoever reads that; twofold's own has certificates and no password",
      };
    }),
};

const secret: Rule = {
  code: "OPTION_SECRET",
  why: "options stand in plain text in the stack's config, in previews and in Pulumi's state, where a secret must never be",
  fix: "keep it on the host",
  check: (topology) =>
    each(topology, (name) => {
      const fix = Object.hasOwn(SECRET, name) ? SECRET[name] : undefined;
      return fix === undefined
        ? undefined
        : { path: path(name), what: "the value of this option is a secret", received: "(not shown)", fix };
    }),
};

const harmful: Rule = {
  code: "OPTION_HARMFUL",
  why: "it takes away a part of what protects the node",
  fix: "remove it",
  check: (topology) =>
    each(topology, (name) => {
      const reason = Object.hasOwn(HARMFUL, name) ? HARMFUL[name] : undefined;
      return (
        reason && {
          path: path(name),
          what: "this option works against what twofold is for",
          received: topology.node.options[name],
          ...reason,
        }
      );
    }),
};

const chanbackup: Rule = {
  code: "OPTION_NO_CHANBACKUP",
  why: "chanbackup writes emergency.recover: the last way to one's channels when every copy is gone",
  fix: "leave chanbackup on",
  check: (topology) =>
    values(topology, "disable-plugin")
      .filter((plugin) => /(^|\/)chanbackup$/.test(plugin))
      .map((plugin) => ({ path: path("disable-plugin"), what: "it turns chanbackup off", received: plugin })),
};

const developer: Rule = {
  code: "OPTION_DEVELOPER",
  why: "developer options change keys, time-outs and what is checked, for tests; with real money behind them they lose it",
  fix: "remove it, or use another network than bitcoin",
  check: (topology) =>
    topology.node.network !== "bitcoin"
      ? []
      : each(topology, (name) =>
          name === "developer" || name.startsWith("dev-")
            ? {
                path: path(name),
                what: "developer options are refused on bitcoin",
                received: topology.node.options[name],
              }
            : undefined,
        ),
};

const fileMode: Rule = {
  code: "OPTION_FILE_MODE",
  why: "a file mode is octal: without quotes Pulumi takes 0660 for the number 432, and lightningd would get that",
  fix: 'put the four digits in quotes: "0660"',
  check: (topology) => {
    const received = topology.node.options["rpc-file-mode"];
    return typeof received === "number" ? [{ path: path("rpc-file-mode"), what: "it is a number", received }] : [];
  },
};

const backupPlugin: Rule = {
  code: "OPTION_BACKUP_PLUGIN",
  why: "the backup plugin hooks SQLite's writes (db_write); with PostgreSQL it backs up nothing",
  fix: "remove it: the standbys keep the copies",
  check: (topology) =>
    topology.node.wallet.kind !== "postgres"
      ? []
      : (["plugin", "important-plugin"] as const).flatMap((name) =>
          values(topology, name)
            .filter((plugin) => /(^|\/)backup(\.py)?$/.test(plugin))
            .map((plugin) => ({ path: path(name), what: "this plugin works with SQLite alone", received: plugin })),
        ),
};

export const OPTION_RULES: readonly Rule[] = [owned, secret, harmful, chanbackup, developer, fileMode, backupPlugin];
