/**
 * The gate's decision. Pure: what is seen goes in, one verdict comes out.
 *
 * What may start is bounded from both sides. lightningd commits to main, then to the replica, then acknowledges; so after any crash
 * the replica is at main's version or one behind, and the witness, which lags, is at or below main. Those states must start: a node that
 * stands still loses money too. Everything that no crash can leave is refused before lightningd can do harm: it would create what is
 * missing, and copy main over a replica that differs, in whichever direction the truth lies.
 */
import { decideCluster, patience, unseenWords } from "../postgres/wallet/decide.ts";
import type { CopyState, Observed, SecretState, WitnessState } from "./observed.ts";

/** What is wrong, in the parts in which an operator reads it. */
export interface Finding {
  what: string;
  /** What lightningd would have done, or what would be lost. */
  consequence: string;
  /** The verb, or the step, that goes on from here. */
  fix: string;
}

export type Decision =
  | {
      verdict: "start";
      code: "FIRST_START" | "COPIES_AGREE" | "REPLICA_BEHIND" | "REPLICA_ANEW" | "DEGRADED";
      notes: string[];
    }
  /** Transient: asked again until a deadline; a contradiction after all if it lasts for `refuseAfterMs`. */
  | ({ verdict: "wait"; code: string; refuseAfterMs?: number } & Finding)
  /** A contradiction: asking again does not help. */
  | ({ verdict: "refuse"; code: string } & Finding);

type Wallet = Extract<CopyState, { state: "wallet" }>;

const refuse = (code: string, what: string, consequence: string, fix: string): Decision => ({
  verdict: "refuse",
  code,
  what,
  consequence,
  fix,
});
const wait = (code: string, what: string, consequence: string, fix: string): Decision => ({
  verdict: "wait",
  code,
  what,
  consequence,
  fix,
});

const restoreReplica = "./twofold restore replica copies the replica to main and keeps the present main aside";
const putBack =
  "put the newest copy of the wallet at this path, without the -wal or -journal that lies there: move those, and what is left of the file, to another directory first";
const newIdentity =
  "lightningd would create a new wallet and, without hsm_secret, a new node identity, and copy that over the replica";

/** The highest mark of all places that have one. */
export function highestMark(witnesses: WitnessState[]): Extract<WitnessState, { state: "mark" }> | undefined {
  return witnesses
    .filter((witness) => witness.state === "mark")
    .reduce<Extract<WitnessState, { state: "mark" }> | undefined>(
      (best, next) => (best === undefined || next.mark.dataVersion > best.mark.dataVersion ? next : best),
      undefined,
    );
}

/** From its beginning on: on a host whose clock was reset, what an operator once permitted would come alive again. */
const isBetween = (since: string, now: string, until: string) =>
  Date.parse(since) <= Date.parse(now) && Date.parse(now) < Date.parse(until);

export function permissionHolds({ permission, node, now }: Pick<Observed, "permission" | "node" | "now">): boolean {
  return permission?.node === node && isBetween(permission.since, now, permission.expires);
}

/** An operator has said that the node goes on without what is missing. */
export function degradedHolds({ degraded, now }: Pick<Observed, "degraded" | "now">): boolean {
  return degraded !== undefined && isBetween(degraded.since, now, degraded.until);
}

const withoutReplica = (seen: Observed) => degradedHolds(seen) && seen.degraded?.subject === "replica";

export function decide(seen: Observed): Decision {
  return (
    nobodyElseRuns(seen) ??
    (seen.cluster && decideCluster(seen.cluster)) ??
    placesAreThere(seen) ??
    firstStart(seen) ??
    mainIsAWallet(seen) ??
    secretFits(seen) ??
    replicaIsNotNewer(seen) ??
    nothingWasRolledBack(seen) ??
    replicaIsRight(seen)
  );
}

function placesAreThere(seen: Observed): Decision | undefined {
  const [mount] = seen.unmounted;
  if (mount !== undefined && !(withoutReplica(seen) && !holdsMain(seen, mount)))
    return wait(
      "NOT_MOUNTED",
      `${mount} is not mounted`,
      `lightningd would find an empty directory in its place: ${newIdentity}`,
      mount === seen.remoteReplicaMount ? bringBackReplica : bringBack(mount),
    );
  if (seen.main.state === "unreachable")
    return wait(
      "MAIN_UNREACHABLE",
      `main at ${seen.main.path} can't be read: ${seen.main.why}`,
      newIdentity,
      "put right what the reason says; the gate goes on by itself",
    );
  // Waited for: a disk that comes back brings its file with it, and until then the operator can act.
  if (seen.main.state === "unreadable")
    return wait(
      "MAIN_UNREADABLE",
      `${seen.main.path} is there, and reading it fails: ${seen.main.why}`,
      "lightningd would abort at the first page that it can't read, or go on from what it can",
      `see dmesg, and btrfs device stats of its volume; if the disk won't come right: systemctl stop lightningd, then ${seen.replica === undefined ? putBack : restoreReplica}`,
    );
  return undefined;
}

const bringBack = (mount: string) =>
  `mount it: systemctl start "$(systemd-escape --path --suffix=mount ${mount})"; its reason is in journalctl -b`;
const bringBackReplica =
  "see that the replica's host is up, then: systemctl start twofold-replica; its reason is in journalctl -u twofold-replica";

const holdsMain = (seen: Observed, mount: string) => seen.main.path.startsWith(`${mount}/`);

function nobodyElseRuns(seen: Observed): Decision | undefined {
  const [other] = seen.others;
  if (other === undefined) return undefined;
  return wait(
    "IN_USE",
    `process ${other.pid} ${other.what}`,
    "two daemons on one wallet sign contradicting states, and the peer takes the money",
    `stop it (was lightningd started by hand?): kill ${other.pid}`,
  );
}

/** All is missing everywhere, or a permitted first start was cut short. */
function firstStart(seen: Observed): Decision | undefined {
  const known =
    seen.identity !== undefined ||
    seen.witnesses.some((witness) => witness.state === "mark" || witness.state === "damaged");
  if (known) return undefined;
  const nothing =
    missing(seen.main) && seen.secret.state === "absent" && (seen.replica === undefined || missing(seen.replica));
  if (!permissionHolds(seen)) {
    const unseen = seen.witnesses.find((witness) => witness.state === "unreachable");
    if (!nothing || unseen !== undefined || seen.replica?.state === "unreachable") return undefined;
    return refuse(
      "NO_FIRST_START_PERMISSION",
      `there is no wallet, no hsm_secret and no witness of node ${seen.node}, and no valid permission for a first start`,
      "lightningd would create a new node identity; if the node ever existed, that is not it",
      "a new node: ./twofold init. A node that existed: restore its copies first",
    );
  }
  // A permission is given only where nothing of the node exists, so what is there now was made under it.
  if (!missing(seen.main) && seen.main.state !== "wallet") return undefined;
  // A first start that was cut short can leave a file without bytes, which lightningd goes on with in SQLite's default mode.
  if (seen.main.state === "blank" && (seen.main.journalMode ?? "delete") !== seen.journalMode)
    return wrongJournalMode("main", seen.main.path, seen.main.journalMode, seen.journalMode, "./twofold init");
  const replica = seen.replica;
  // Of a moment only, maybe: without it nothing says whether main is missing from a first start, or from more.
  if (replica?.state === "unreachable") return replicaOutOfSight(replica);
  if (replica?.state === "wallet" && (seen.main.state !== "wallet" || replica.version > seen.main.version))
    return undefined;
  if (seen.main.state === "absent" && seen.journalMode === "wal")
    return refuse(
      "MAIN_NOT_PREPARED",
      `${seen.main.path} is not there`,
      "lightningd would create it with a rollback journal, which loses acknowledged commits at a power cut",
      "./twofold init prepares it",
    );
  return secretFits(seen) ?? { verdict: "start", code: "FIRST_START", notes: ["first start, permitted by init"] };
}

const missing = (copy: CopyState) => copy.state === "absent" || copy.state === "blank";

function mainIsAWallet(seen: Observed): Decision | undefined {
  const { main, replica } = seen;
  if (missing(main)) {
    const elsewhere = [
      replica?.state === "wallet" ? `the replica has data_version ${replica.version}` : undefined,
      replica?.state === "unreachable" ? `the replica can't be seen (${replica.why})` : undefined,
      seen.secret.state === "present" ? "hsm_secret is there" : undefined,
      markWords(seen),
    ].filter((part) => part !== undefined);
    return refuse(
      "MAIN_MISSING",
      `main at ${main.path} ${main.state === "absent" ? "is missing" : "has no wallet in it"}, though ${elsewhere.join(", ") || "the node was started before"}`,
      newIdentity,
      replica !== undefined ? restoreReplica : putBack,
    );
  }
  if (main.state === "damaged")
    return refuse(
      "MAIN_DAMAGED",
      `main at ${main.path} is damaged: ${main.why}`,
      "lightningd would go on from a malformed database and copy it over the replica",
      replica !== undefined ? restoreReplica : putBack,
    );
  if (main.state === "mixed")
    return refuse(
      "JOURNAL_STRANGE",
      `main at ${main.path} and the journal beside it are not of one database: ${main.why}`,
      "SQLite would play the journal into the file: its newest version over older pages, an old channel state that the peer takes all the money for",
      replica !== undefined ? restoreReplica : `put the database back to which the journal belongs, or else ${putBack}`,
    );
  if (main.state !== "wallet") return undefined;
  if (main.journalMode !== seen.journalMode)
    return wrongJournalMode("main", main.path, main.journalMode, seen.journalMode, "./twofold repair");
  const known = seen.identity ?? highestMark(seen.witnesses)?.mark.nodeId;
  if (main.nodeId === undefined)
    return refuse(
      "MAIN_UNCLAIMED",
      `the wallet at ${main.path} belongs to no node yet, and there is no permission for a first start`,
      "lightningd would claim it for whatever hsm_secret it finds",
      known === undefined ? "./twofold init" : restoreReplica,
    );
  if (known !== undefined && known !== main.nodeId)
    return refuse(
      "MAIN_OTHER_NODE",
      `the wallet at ${main.path} belongs to node ${main.nodeId}; ${seen.node} is ${known}`,
      "another node would run in this one's place",
      "put this node's own wallet back, or declare the other node in a topology of its own",
    );
  return undefined;
}

function wrongJournalMode(
  which: string,
  path: string,
  found: string | undefined,
  declared: string,
  fix: string,
): Decision {
  return refuse(
    "JOURNAL_MODE",
    `${which} at ${path} has journal mode ${found ?? "none"}, declared is ${declared}`,
    "the durability that the survival table promises would not hold",
    fix,
  );
}

function secretFits(seen: Observed): Decision | undefined {
  const secret = seen.secret;
  if (secret.state === "absent") {
    // In a first start lightningd makes the secret before it makes the wallet, so a claimed wallet always has one.
    if (permissionHolds(seen) && !(seen.main.state === "wallet" && seen.main.nodeId !== undefined)) return undefined;
    return refuse(
      "SECRET_MISSING",
      `${secret.path} is missing`,
      "lightningd would create another secret and overwrite the replica before it notices that it does not fit",
      "bring hsm_secret back from its off-host copy, owned by the node's user, mode 0400",
    );
  }
  if (secret.state === "unreachable")
    return wait(
      "SECRET_UNREACHABLE",
      `${secret.path} can't be compared with the wallet: ${secret.why}`,
      "lightningd would overwrite the replica before it notices that the secret is another node's",
      "put right what the reason says; the gate goes on by itself",
    );
  return secretIsSafe(seen, secret) ?? secretBelongs(seen, secret);
}

function secretIsSafe(seen: Observed, secret: Extract<SecretState, { state: "present" }>): Decision | undefined {
  if (secret.owner !== seen.user)
    return refuse(
      "SECRET_OWNER",
      `${secret.path} belongs to ${secret.owner}, expected ${seen.user}`,
      "another account can replace the node's key, or lightningd can't read it",
      `find out who changed it, then chown ${seen.user}: ${secret.path}`,
    );
  if (secret.mode !== "0400")
    return refuse(
      "SECRET_MODE",
      `${secret.path} has mode ${secret.mode}, expected 0400`,
      "whoever can read hsm_secret can spend the node's money",
      `find out who could read it, then chmod 0400 ${secret.path}`,
    );
  if (secret.kind === "invalid")
    return refuse(
      "SECRET_INVALID",
      `${secret.path} has none of hsm_secret's forms: ${secret.why ?? "unknown length"}`,
      "lightningd would overwrite the replica before it notices",
      "bring hsm_secret back from its off-host copy",
    );
  return undefined;
}

function secretBelongs(seen: Observed, secret: Extract<SecretState, { state: "present" }>): Decision | undefined {
  if (seen.main.state !== "wallet" || seen.main.nodeId === undefined) return undefined;
  if (secret.nodeId !== undefined && secret.nodeId !== seen.main.nodeId)
    return refuse(
      "SECRET_OTHER_NODE",
      `${secret.path} makes node ${secret.nodeId}, the wallet belongs to ${seen.main.nodeId}`,
      "lightningd would overwrite the replica before it notices",
      "bring this node's own hsm_secret back from its off-host copy",
    );
  return undefined;
}

/** Main lost what the replica has: also to be said when the witness can't be reached, so it comes before it. */
function replicaIsNotNewer(seen: Observed): Decision | undefined {
  const { main, replica } = seen;
  if (main.state !== "wallet" || replica?.state !== "wallet") return undefined;
  if (replica.nodeId !== undefined && replica.nodeId !== main.nodeId)
    return refuse(
      "REPLICA_OTHER_NODE",
      `the replica at ${replica.path} belongs to node ${replica.nodeId}, main to ${main.nodeId}`,
      "lightningd would overwrite the other node's wallet",
      "give every node a replica directory of its own; if the file is not needed: ./twofold resync replica keeps it aside",
    );
  if (replica.version > main.version)
    return refuse(
      "REPLICA_NEWER",
      `main has data_version ${main.version}, the replica ${replica.version}, ${markWords(seen) ?? "no witness"}`,
      `main lost ${replica.version - main.version} acknowledged commit(s); lightningd would erase them from the replica too`,
      restoreReplica,
    );
  return undefined;
}

function nothingWasRolledBack(seen: Observed): Decision | undefined {
  if (seen.main.state !== "wallet") return undefined;
  const main = seen.main;
  const damaged = seen.witnesses.find((witness) => witness.state === "damaged");
  if (damaged !== undefined)
    return refuse(
      "WITNESS_DAMAGED",
      `the witness on ${damaged.host} can't be read: ${damaged.why}`,
      "an older state could start unseen, and an old state makes the peer take all the money",
      "./twofold witness rebuild",
    );
  const otherNode = seen.witnesses.find((witness) => witness.state === "mark" && witness.mark.nodeId !== main.nodeId);
  if (otherNode?.state === "mark")
    return refuse(
      "WITNESS_OTHER_NODE",
      `the witness on ${otherNode.host} belongs to node ${otherNode.mark.nodeId}, main to ${main.nodeId}`,
      "the mark of another node says nothing about this one",
      "find out which of the two is wrong; ./twofold witness rebuild if it is the witness",
    );
  const highest = highestMark(seen.witnesses);
  if (highest !== undefined && highest.mark.dataVersion > main.version)
    return unlessNewerComesBack(
      seen,
      "ROLLED_BACK",
      `main has data_version ${main.version}, ${replicaWords(seen.replica)}, the witness on ${highest.host} has seen ${highest.mark.dataVersion} (${highest.mark.source}, ${highest.mark.at})`,
      "main is older than what the node has acknowledged: an old state makes the peer take all the money",
      `find a copy with data_version ${highest.mark.dataVersion} or more (./twofold status shows every copy)${asideWords(seen.aside)}; if there is none, keep the node stopped and recover with emergencyrecover`,
    );
  const unreachable = seen.witnesses.find((witness) => witness.state === "unreachable");
  if (unreachable !== undefined && !(degradedHolds(seen) && highest !== undefined))
    return wait(
      "WITNESS_UNREACHABLE",
      `the witness on ${unreachable.host} does not answer: ${unreachable.why}`,
      "an older state could start unseen, and an old state makes the peer take all the money",
      `bring ${unreachable.host} back; ./twofold degrade witness --for 24h --reason … goes on without it`,
    );
  if (highest === undefined)
    return refuse(
      "WITNESS_MISSING",
      `no witness of node ${seen.node} is left (asked: ${seen.witnesses.map((witness) => witness.host).join(", ") || "none"}); main has data_version ${main.version}, ${replicaWords(seen.replica)}`,
      "nothing says whether main is the newest state; an old state makes the peer take all the money",
      "./twofold witness rebuild compares all copies and writes that down",
    );
  return undefined;
}

const goOn = "./twofold degrade replica --for 24h --reason … goes on without it";

const replicaOutOfSight = ({ path, why }: Extract<CopyState, { state: "unreachable" }>) =>
  wait(
    "REPLICA_UNREACHABLE",
    `the replica at ${path} can't be seen: ${why}`,
    "the replica could hold commits that main has lost, and acknowledged commits would be in one place only",
    `bring its host back; ${goOn}`,
  );

/** Files stay as they are; of a cluster, the primary that was found may be one that a newer one has succeeded. */
function unlessNewerComesBack(seen: Observed, ...[code, what, consequence, fix]: Parameters<typeof refuse>): Decision {
  const cluster = seen.cluster?.cluster;
  if (cluster?.state !== "primary") return refuse(code, what, consequence, fix);
  const found = { code, what: what + unseenWords(cluster), consequence, fix };
  return { verdict: "wait", ...found, refuseAfterMs: patience(cluster) };
}

function replicaIsRight(seen: Observed): Decision {
  const { main, replica } = seen;
  // decide() asked these before; the compiler can't see it.
  if (main.state !== "wallet") throw new Error(`gate: main is ${main.state} after its checks`);
  const notes = [...witnessNotes(seen), ...secretNotes(seen)];
  if (replica === undefined) return { verdict: "start", code: "COPIES_AGREE", notes };
  if (withoutReplica(seen) && seen.degraded !== undefined)
    return {
      verdict: "start",
      code: "DEGRADED",
      notes: [`WITHOUT REPLICA until ${seen.degraded.until}: ${seen.degraded.reason}`, ...notes],
    };
  const remake = "./twofold resync replica copies main to it, and keeps what is there aside";
  switch (replica.state) {
    case "unreachable":
      if (seen.replicaFreeBytes !== undefined && seen.replicaFreeBytes < ROOM_TO_READ)
        return wait(
          "REPLICA_NO_SPACE",
          `reading the replica at ${replica.path} needs some room beside it, and ${mebibytes(seen.replicaFreeBytes)} are free: ${replica.why}`,
          "lightningd would abort at its next commit, which main has then and the replica has no room for",
          `make room on the replica's volume; ${goOn}`,
        );
      return replicaOutOfSight(replica);
    case "unreadable":
      return wait(
        "REPLICA_UNREADABLE",
        `the replica at ${replica.path} is there, and reading it fails: ${replica.why}`,
        "the replica could hold commits that main has lost, and acknowledged commits would be in one place only",
        `see dmesg, and btrfs device stats of its volume; if the disk won't come right: ${remake}; ${goOn}`,
      );
    case "absent":
    case "blank":
      return refuse(
        "REPLICA_MISSING",
        `the replica at ${replica.path} ${replica.state === "absent" ? "is missing" : "has no wallet in it"}; main has data_version ${main.version}, ${markWords(seen)}`,
        "if main lost commits too, the replica was the place to find them",
        `look for the file; if it is gone: ${remake}; ${goOn}`,
      );
    case "damaged":
      return refuse(
        "REPLICA_DAMAGED",
        `the replica at ${replica.path} is damaged: ${replica.why}`,
        "lightningd would take it for a good second copy if its version happens to match",
        `check its disk; then ${remake}; ${goOn}`,
      );
    case "mixed":
      return refuse(
        "JOURNAL_STRANGE",
        `the replica at ${replica.path} and the journal beside it are not of one database: ${replica.why}`,
        "lightningd would take what SQLite makes of both for a good second copy if its version happens to match",
        `find out who put the file there; then ${remake}; ${goOn}`,
      );
    case "wallet":
      if (replica.version !== main.version) return behind(seen, main, replica, notes);
      if (replica.journalMode !== seen.journalMode)
        return wrongJournalMode("the replica", replica.path, replica.journalMode, seen.journalMode, remake);
      return { verdict: "start", code: "COPIES_AGREE", notes };
  }
}

function behind(seen: Observed, main: Wallet, replica: Wallet, notes: string[]): Decision {
  const words = `the replica is at ${replica.version}, main at ${main.version}: lightningd copies main over it`;
  return anew(
    seen,
    main,
    replica.bytes,
    [words, ...notes],
    main.version - replica.version === 1 ? "REPLICA_BEHIND" : "REPLICA_ANEW",
  );
}

/** lightningd copies all of main in one transaction; in WAL mode the whole copy passes through the replica's -wal first. */
function anew(
  seen: Observed,
  main: Wallet,
  replicaBytes: number,
  notes: string[],
  code: "REPLICA_ANEW" | "REPLICA_BEHIND",
): Decision {
  const needed = (seen.journalMode === "wal" ? 2 * main.bytes : main.bytes) - replicaBytes + 16 * 2 ** 20;
  if (seen.replicaFreeBytes !== undefined && seen.replicaFreeBytes < needed)
    return wait(
      "REPLICA_NO_SPACE",
      `copying main over the replica needs ${mebibytes(needed)} where ${seen.replica?.path} lies, ${mebibytes(seen.replicaFreeBytes)} are free`,
      "lightningd would fail in the middle of the copy",
      "make room on the replica's volume",
    );
  return { verdict: "start", code, notes };
}

/** Bytes that SQLite's shared memory and a copied journal take in the gate's scratch directory. */
const ROOM_TO_READ = 2 ** 20;
const mebibytes = (bytes: number) => `${Math.ceil(bytes / 2 ** 20)} MiB`;

function markWords(seen: Observed): string | undefined {
  const highest = highestMark(seen.witnesses);
  return highest && `the witness on ${highest.host} ${highest.mark.dataVersion}`;
}

function replicaWords(replica: CopyState | undefined): string {
  if (replica === undefined) return "no replica is declared";
  return replica.state === "wallet" ? `the replica ${replica.version}` : `the replica is ${replica.state}`;
}

/** An operator who has lost the newest state looks for it under stress. */
function asideWords(aside: Observed["aside"]): string {
  if (aside === undefined) return "";
  if (aside.length === 0) return "; beside main and replica none was put aside";
  return `; put aside were ${aside.map(({ path, version }) => `${version} at ${path}`).join(", ")}`;
}

function witnessNotes(seen: Observed): string[] {
  return seen.witnesses.flatMap((witness) => {
    if (witness.state === "missing")
      return [
        `NO MARK ON ${witness.host}: a new place, or its mark was lost; main was held against ${markWords(seen)}, and the next sample makes it anew`,
      ];
    if (witness.state === "unreachable")
      return [`WITHOUT THE WITNESS on ${witness.host} until ${seen.degraded?.until}: ${seen.degraded?.reason}`];
    return [];
  });
}

function secretNotes(seen: Observed): string[] {
  return seen.secret.state === "present" && seen.secret.nodeId === undefined
    ? [`hsm_secret was not compared with the wallet: ${seen.secret.why ?? "no node id"}`]
    : [];
}
