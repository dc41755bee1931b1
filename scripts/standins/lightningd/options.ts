/**
 * Options of the command line and of the config file, read as Core Lightning reads them (common/configdir.c, common/configvar.c): a line
 * is `name` or `name=value`, '#' starts a comment line, the command line wins over the file, the last one wins unless the option may be
 * repeated, and an option that nobody knows ends the daemon.
 */
import { existsSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { Failure } from "./failure.ts";

/**
 * Options without an argument.
 * Source of the three lists: `lightningd --help` of v26.06.6 without the developers' options, and lightningd-config(5) for the plugins
 * clnrest, grpc and wss, which are not in every build.
 */
const FLAGS = `
  clear-plugins developer disable-dns disable-mpp experimental-bwatch experimental-dual-fund experimental-shutdown-wrong-funding
  experimental-splicing fetchinvoice-noconnect invoices-onchain-fallback large-channels mainnet offline regtest signet testnet testnet4
  wumbo`;

/** Options with an argument, of which the last one counts. */
const VALUES = `
  alias allow-deprecated-apis always-use-proxy announce-addr-discovered announce-addr-discovered-port askrene-max-threads
  askrene-timeout autoclean-cycle autoclean-expiredinvoices-age autoclean-failedforwards-age autoclean-failedpays-age
  autoclean-networkevents-age autoclean-paidinvoices-age autoclean-succeededforwards-age autoclean-succeededpays-age
  autoconnect-seeker-peers autolisten bkpr-currency bookkeeper-db bookkeeper-dir bwatch-poll-interval channel-fee-max-base-msat
  channel-fee-max-proportional-thousandths clnrest-certs clnrest-cors-origins clnrest-csp clnrest-host clnrest-port clnrest-protocol
  clnrest-swagger-root cltv-delta cltv-final commit-fee commit-feerate-offset commit-time conf database-upgrade exposesecret-passphrase
  fee-base fee-per-satoshi force-feerates funder-fund-probability funder-fuzz-percent funder-lease-requests-only
  funder-max-their-funding funder-min-their-funding funder-per-channel-max funder-per-channel-min funder-policy funder-policy-mod
  funder-reserve-tank funding-confirms grpc-host grpc-msg-buffer-limit grpc-port htlc-maximum-msat htlc-minimum-msat ignore-fee-limits
  lease-fee-base-sat lease-fee-basis lease-funding-weight lightning-dir log-level log-prefix log-timestamps max-concurrent-htlcs
  max-dust-htlc-exposure-msat message-padding min-capacity-sat min-emergency-msat network pid-file proxy require-confirmed-inputs rescan
  rgb rpc-file rpc-file-mode tor-service-password wallet watchtime-blocks wss-bind-addr wss-certs xpay-handle-pay xpay-slow-mode
  xpay-user-layer`;

/** Options with an argument that may be repeated. */
const REPEATED = `
  accept-htlc-tlv-type addr announce-addr bind-addr disable-plugin i-promise-to-fix-broken-api-user important-plugin log-file
  payment-fronting-node plugin plugin-dir subdaemon`;

/** Options of the plugin bcli, known only while it is not disabled. */
const BCLI = `
  bitcoin-cli bitcoin-datadir bitcoin-retry-timeout bitcoin-rpcclienttimeout bitcoin-rpcconnect bitcoin-rpcpassword bitcoin-rpcport
  bitcoin-rpcuser`;

const names = (list: string) => new Set(list.trim().split(/\s+/));
const flags = names(FLAGS);
const values = names(VALUES);
const repeated = names(REPEATED);
const bcli = names(BCLI);

/** Options whose value keeps its white space. */
const VERBATIM = new Set(["alias", "log-prefix"]);

interface Setting {
  name: string;
  value: string | undefined;
  /** Where it was written, for messages: `--name=value` or `Config file … line 3: name=value`. */
  source: string;
}

export interface Options {
  /** The last value of an option, or undefined. */
  value(name: string): string | undefined;
  /** Every place where an option that may be repeated was given, in order. */
  all(name: string): { value: string; source: string }[];
}

function parseLine(line: string): { name: string; value: string | undefined } {
  const separator = line.indexOf("=");
  if (separator < 0) return { name: line, value: undefined };
  const name = line.slice(0, separator);
  const value = line.slice(separator + 1);
  return { name, value: VERBATIM.has(name) ? value : value.trimEnd() };
}

/** Command-line words to settings: `--name=value`, `--name value`, `--flag`. */
function readCommandLine(words: readonly string[]): Setting[] {
  const settings: Setting[] = [];
  for (let index = 0; index < words.length; index++) {
    const word = words[index] ?? "";
    if (!word.startsWith("--")) throw new Failure(`no arguments accepted: received ${JSON.stringify(word)}`);
    const { name, value } = parseLine(word.slice(2));
    const takesNext = value === undefined && (values.has(name) || repeated.has(name) || bcli.has(name));
    const given = takesNext ? words[++index] : value;
    settings.push({ name, value: given, source: `--${name}${given === undefined ? "" : `=${given}`}` });
  }
  return settings;
}

function readConfigFile(path: string, mustExist: boolean): Setting[] {
  if (!mustExist && !existsSync(path)) return [];
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    throw new Failure(`Opening and reading ${path}: ${(error as Error).message}`);
  }
  return text.split(/[\r\n]/).flatMap((line, index) => {
    if (line === "" || line.startsWith("#")) return [];
    return [{ ...parseLine(line), source: `Config file ${path} line ${index + 1}: ${line}` }];
  });
}

function check(settings: readonly Setting[]): void {
  const bcliDisabled = settings.some(
    (setting) => setting.name === "disable-plugin" && /(^|\/)bcli$/.test(setting.value ?? ""),
  );
  for (const { name, value, source } of settings) {
    const problem = flags.has(name)
      ? value !== undefined && "doesn't allow an argument"
      : values.has(name) || repeated.has(name) || (bcli.has(name) && !bcliDisabled)
        ? value === undefined && "requires an argument"
        : "unknown option";
    if (problem) throw new Failure(`${source}: ${problem}`);
  }
}

/** Reads the command line and the config file that it names, or the two default ones. Throws {@link Failure} as lightningd would. */
export function readOptions(words: readonly string[], home: string): Options {
  const commandLine = readCommandLine(words);
  const last = (settings: readonly Setting[], name: string) =>
    settings.findLast((setting) => setting.name === name)?.value;
  const conf = last(commandLine, "conf");
  let fromFiles: Setting[];
  if (conf === undefined) {
    const base = resolve(last(commandLine, "lightning-dir") ?? join(home, ".lightning"));
    fromFiles = readConfigFile(join(base, "config"), false);
    const network = networkOf([...fromFiles, ...commandLine]);
    fromFiles.push(...readConfigFile(join(base, network, "config"), false));
  } else {
    fromFiles = readConfigFile(resolve(conf), true);
  }
  if (fromFiles.some((setting) => setting.name === "conf"))
    throw new Failure(`Config file: conf: not permitted in configuration files`);
  const settings = [...fromFiles, ...commandLine];
  check(settings);
  return {
    value: (name) => (name === "network" ? networkOf(settings) : last(settings, name)),
    all: (name) =>
      settings.flatMap(({ name: other, value, source }) => (other === name ? [{ value: value ?? "", source }] : [])),
  };
}

const NETWORK_FLAGS = new Map([
  ["mainnet", "bitcoin"],
  ["testnet", "testnet"],
  ["testnet4", "testnet4"],
  ["signet", "signet"],
  ["regtest", "regtest"],
]);

/** The last of `network=NAME` and the flags that stand for it. */
function networkOf(settings: readonly Setting[]): string {
  return settings.reduce(
    (network, { name, value }) => (name === "network" ? (value ?? network) : (NETWORK_FLAGS.get(name) ?? network)),
    "bitcoin",
  );
}

/** A boolean as lightningd accepts it. */
export function parseBoolean(option: string, value: string | undefined, otherwise: boolean): boolean {
  if (value === undefined) return otherwise;
  if (["1", "on", "yes", "true"].includes(value)) return true;
  if (["0", "off", "no", "false"].includes(value)) return false;
  throw new Failure(`--${option}=${value}: Invalid argument '${value}'`);
}
