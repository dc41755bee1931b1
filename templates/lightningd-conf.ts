/** Renders lightningd.conf from the values of the desired state. */
import { LIGHTNINGD, LIGHTNINGD_OPTION, type LightningdDocument } from "../scripts/host/contract.ts";
import { Refusal } from "../scripts/host/stage.ts";
import { fillTemplate } from "./load.ts";
import { walletDsn as postgresDsn } from "./postgres-dsn.ts";

type OptionValue = LightningdDocument["options"][string];

/**
 * Options of Core Lightning v26.06 that take `true` or `false` as an argument. All others that the topology gives as a
 * boolean are flags, which are there or not (lightningd/options.c, lightningd/log.c and the built-in plugins).
 */
const BOOLEAN_ARGUMENT = new Set([
  "allow-deprecated-apis",
  "always-use-proxy",
  "announce-addr-discovered",
  "autolisten",
  "database-upgrade",
  "funder-lease-requests-only",
  "ignore-fee-limits",
  "log-timestamps",
  "message-padding",
  "require-confirmed-inputs",
  "xpay-handle-pay",
  "xpay-slow-mode",
]);

/** Written by the template itself: a second line would override or contradict it. */
const OWNED = new Set(["network", "lightning-dir", "wallet"]);

function refuseOption(name: string, value: string, what: string, why: string, fix: string): never {
  throw new Refusal({ code: "lightningd-option", what, received: `${name}: ${JSON.stringify(value)}`, why, fix });
}

function checkValue(name: string, value: string): string {
  // lightningd splits its config at \r and \n alike (common/configdir.c).
  if (/[\r\n\0]/.test(value))
    refuseOption(
      name,
      value,
      `the value of lightningd option '${name}' has a line break`,
      "each line of lightningd.conf is one option, so the rest would be read as another one",
      "give one line; for an option that may be repeated, a list",
    );
  if (value !== value.trim())
    refuseOption(
      name,
      value,
      `the value of lightningd option '${name}' begins or ends with white space`,
      "lightningd cuts it off at the end of most options and keeps it in others",
      "remove it",
    );
  return value;
}

function optionLines(name: string, value: OptionValue): string[] {
  if (!LIGHTNINGD_OPTION.name.test(name))
    refuseOption(
      name,
      String(value),
      `'${name}' is no name of a lightningd option`,
      "it would be read as another line of lightningd.conf",
      "write the option without dashes in front, as in lightningd-config(5)",
    );
  if (OWNED.has(name))
    refuseOption(
      name,
      String(value),
      `lightningd option '${name}' is set by twofold`,
      "a second value would take the place of the one that the gate checks",
      "remove it from the options; network, directory and wallet have keys of their own",
    );
  if (Array.isArray(value)) return value.map((one) => `${name}=${checkValue(name, one)}`);
  if (typeof value === "boolean") {
    if (BOOLEAN_ARGUMENT.has(name)) return [`${name}=${value}`];
    return value ? [name] : [];
  }
  return [`${name}=${checkValue(name, String(value))}`];
}

/** The wallet line's value, split by lightningd at the first colon after the scheme (db/db_sqlite3.c). */
export function walletDsn(main: string, replica?: string): string {
  for (const path of [main, replica ?? "/"])
    if (!path.startsWith("/") || /[:\r\n]/.test(path))
      throw new Refusal({
        code: "lightningd-wallet-path",
        what: "a path of the wallet can't be written into lightningd's wallet line",
        received: path,
        why: "lightningd takes the first ':' as the beginning of the replica's path, and relative paths from another directory",
        fix: "use an absolute path without ':'",
      });
  return replica === undefined ? `sqlite3://${main}` : `sqlite3://${main}:${replica}`;
}

/** @param degraded leave the replica out, for as long as degraded mode lasts. */
export function renderLightningdConf(document: LightningdDocument, { degraded = false } = {}): string {
  const { wallet } = document;
  return fillTemplate("lightningd.conf", {
    network: document.network,
    directory: document.directory,
    wallet:
      wallet.kind === "postgres"
        ? // For whoever starts it by hand. The gate names the one server that it has checked, on the command line, which counts.
          postgresDsn(wallet, wallet.members)
        : walletDsn(wallet.main, degraded ? undefined : wallet.replica?.path),
    // In the order of their names: a config's keys come in another order from Pulumi than from the verbs.
    options: Object.entries(document.options)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .flatMap(([name, value]) => optionLines(name, value))
      .join("\n"),
  });
}

/** Where the two configs of a node belong. Without a replica there is nothing to be degraded. */
export function lightningdConfFiles(document: LightningdDocument): { path: string; content: string }[] {
  const files: { path: string; content: string }[] = [
    { path: LIGHTNINGD.config, content: renderLightningdConf(document) },
  ];
  if (document.wallet.kind === "sqlite" && document.wallet.replica)
    files.push({ path: LIGHTNINGD.degradedConfig, content: renderLightningdConf(document, { degraded: true }) });
  return files;
}
