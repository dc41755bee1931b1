/**
 * One lab under one fault after another: after each, every commit that lightningd had acknowledged is in the copy that the survival table
 * names, and the gate starts the node, or refuses to, as the copies ask for. What is expected is derived here from what lies on the disks,
 * not by the gate's own code.
 */
import { setTimeout as delay } from "node:timers/promises";
import { journalMode, replicaOf } from "../../components/topology/places.ts";
import type { Topology } from "../../components/topology/schema.ts";
import type { Failure } from "../../components/topology/survival/row.ts";
import { setupOf } from "../../components/topology/survival/situation.ts";
import { survivalTable } from "../../components/topology/survival.ts";
import {
  type Copy,
  fingerprintOf,
  mainPlace,
  type Place,
  placesOf,
  readCopy,
  readSurvivor,
  writesReplica,
} from "../faults/copies.ts";
import { meetsErrors, pullDisk, returnDisk, scrubVolume } from "../faults/disks.ts";
import { gateDecides, highestMark, nodeAnswers, type Verdict } from "../faults/gate.ts";
import { cutLink, healLinks } from "../faults/links.ts";
import { Machine, topologyOf } from "../faults/machine.ts";
import { cutPower, killHost, powerOn } from "../faults/power.ts";
import { killLightningd, LightningdWatch, lightningd, lightningds, stopLightningdWhen } from "../faults/processes.ts";
import { Recorder, socketOf } from "../faults/recorder.ts";
import type { Random } from "../faults/seed.ts";
import { eventually, type Lab } from "../helpers/lab.ts";
import { LightningdClient } from "../helpers/lightningd-client.ts";

/** The replica is on another host, on another disk of the node's, or there is none and RAID-1 alone has to hold. */
export type TopologyKind = "remote" | "local" | "alone";

/** What can happen, how often in a hundred, and the row of the survival table that says what it costs. */
interface Kind {
  share: Record<TopologyKind, number>;
  failure?: Failure;
}
const FAULTS = {
  "power cut of the node": { share: { remote: 30, local: 60, alone: 60 }, failure: "power-node" },
  "power cut of the replica's host": { share: { remote: 12, local: 0, alone: 0 }, failure: "other-host" },
  "power cut of both": { share: { remote: 26, local: 0, alone: 0 }, failure: "power-all" },
  "kill -9": { share: { remote: 12, local: 18, alone: 18 } },
  "host kill": { share: { remote: 8, local: 12, alone: 12 } },
  "link cut": { share: { remote: 4, local: 0, alone: 0 }, failure: "network" },
  "disk pull": { share: { remote: 8, local: 10, alone: 10 }, failure: "disk" },
} as const satisfies Record<string, Kind>;
export type Fault = keyof typeof FAULTS;
const NAMES = Object.keys(FAULTS) as Fault[];

/**
 * "load": while commits go on. "idle": after the last of a few was acknowledged, and nothing more was asked for. "between": lightningd has
 * written a commit to main, and not yet to the replica.
 */
export interface Cut {
  fault: Fault;
  moment: "load" | "idle" | "between";
  /** Milliseconds after the writer's first acknowledgement, or after its last one. */
  delay: number;
  /** Invoices before an idle cut. */
  count: number;
}

/** Each fault in its share, and each that applies at least once; in an order, at moments and after delays that the seed decides. */
export function planCuts(random: Random, total: number, kind: TopologyKind): Cut[] {
  const applying = NAMES.filter((name) => FAULTS[name].share[kind] > 0);
  const more = applying.flatMap((name) =>
    Array<Fault>(Math.max(0, Math.floor((FAULTS[name].share[kind] * total) / 100) - 1)).fill(name),
  );
  // One of each comes first, so that a short plan leaves none out.
  const faults: Fault[] = [...applying, ...more];
  while (faults.length < total) faults.push("power cut of the node");
  return random.shuffled(faults.slice(0, total)).map((fault, index) => ({
    fault,
    // A lightningd that stands still would not notice a lost link, nor go on without a disk.
    moment:
      index % 2 === 1 ? "idle" : index % 4 === 0 && kind !== "alone" && !needsMovement(fault) ? "between" : "load",
    delay: index % 4 === 1 ? 0 : random.between(0, 1500),
    count: random.between(1, 12),
  }));
}

const needsMovement = (fault: Fault) => fault === "link cut" || fault === "disk pull";

/** What happened to one cut. */
export interface Outcome {
  cut: Cut;
  main: Copy | undefined;
  replica: Copy | undefined;
  gate: Verdict | undefined;
  /** Acknowledged labels that the newest copy does not have. */
  lost: string[];
  /** The same of main alone. */
  lostByMain: string[];
  /** Milliseconds from the last acknowledgement to the cut, if that instant is known. */
  sinceAcknowledged: number | undefined;
  seconds: number;
}

/** The survival table's row of a fault, if it has one. */
export const failureOf = (fault: Fault): Failure | undefined => (FAULTS[fault] as Kind).failure;

/** What a run has to have met, or its cuts were too tame to prove anything. */
export function sightings(outcomes: Outcome[]) {
  const count = (holds: (outcome: Outcome) => boolean) => outcomes.filter(holds).length;
  const difference = ({ main, replica }: Outcome) => main && replica && main.dataVersion - replica.dataVersion;
  return {
    behindByOne: count((outcome) => difference(outcome) === 1),
    journalOfMain: count(({ main }) => main !== undefined && (main.hotJournal || main.wal)),
    journalOfReplica: count(({ replica }) => replica !== undefined && (replica.hotJournal || replica.wal)),
    lostByMain: count(({ lostByMain }) => lostByMain.length > 0),
    lostByBoth: count(({ lost }) => lost.length > 0),
    refused: count(({ gate }) => gate?.verdict === "refuse"),
    /** Milliseconds between an acknowledgement and a power cut, the least of all. */
    sinceAcknowledged: Math.min(
      ...outcomes.map(({ sinceAcknowledged }) => sinceAcknowledged ?? Number.POSITIVE_INFINITY),
    ),
  };
}

/** What a fault left behind: since when acknowledgements do not count, and how the lab is brought back. */
interface Made {
  from?: bigint;
  bringBack: () => Promise<void>;
}

interface Pulled extends Made {
  /** Main as the disks that are left have it. */
  survivor: Copy;
}

const FIRST_SECONDS = 60;
const GATE_SECONDS = 120;
const ANSWER_SECONDS = 60;
/** sshfs gives up after 15 s (ServerAlive), then lightningd aborts at its next write, or is restarted by the mount's unit. */
const UNREACHABLE_SECONDS = 90;

export class Campaign {
  readonly lab: Lab;
  readonly topology: Topology;
  readonly node: Machine;
  readonly others: Machine[];
  readonly main: Place;
  readonly #replica: Place | undefined;
  readonly outcomes: Outcome[] = [];
  readonly #watch: LightningdWatch;
  readonly #seed: string;
  readonly #log: (line: string) => void;
  /** Acknowledged and not lost so far. */
  readonly #standing = new Set<string>();

  private constructor(
    lab: Lab,
    seed: string,
    watch: LightningdWatch,
    machines: Machine[],
    log: (line: string) => void,
  ) {
    this.lab = lab;
    this.topology = topologyOf(lab);
    const [node, ...others] = machines;
    if (node === undefined) throw new Error("the lab has no hosts");
    this.node = node;
    this.others = others;
    this.main = mainPlace(this.topology, machines);
    this.#replica = replicaOf(this.topology) && placesOf(this.topology, machines).replica;
    this.#seed = seed;
    this.#watch = watch;
    this.#log = log;
  }

  static async start(lab: Lab, seed: string, log: (line: string) => void): Promise<Campaign> {
    const topology = topologyOf(lab);
    const names = Object.keys(topology.hosts).filter((name) => name !== topology.node.host);
    const machines = [topology.node.host, ...names].map((name) => new Machine(lab, topology, name));
    return new Campaign(lab, seed, await LightningdWatch.start(machines[0] as Machine), machines, log);
  }

  get kind(): TopologyKind {
    if (this.#replica === undefined) return "alone";
    return this.#replica.host === this.node ? "local" : "remote";
  }

  /** @throws if the topology has none */
  get replica(): Place {
    if (this.#replica === undefined) throw new Error("the topology has no replica");
    return this.#replica;
  }

  /** As the survival table and the proofs name it. */
  get setup(): string {
    return setupOf(this.topology);
  }

  get mode(): "wal" | "delete" {
    return journalMode(this.topology);
  }

  /** Of lightningd, as it says itself. */
  async version(): Promise<string> {
    const client = await LightningdClient.connect(await socketOf(this.node, this.topology));
    try {
      return (await client.getinfo()).version;
    } finally {
      client.close();
    }
  }

  get hosts(): Machine[] {
    return [this.node, ...this.others];
  }

  /** Ends the watch over lightningd, which goes on until then, whatever else fails. */
  async end(): Promise<void> {
    await this.#watch.stop();
  }

  /** Ends the watch. @throws if two lightningd ever ran at once, or if the watch saw none. */
  async stop(): Promise<void> {
    await this.end();
    const [double] = this.#watch.doubles;
    if (double !== undefined) throw new Error(`${double.length} lightningd ran at once: ${double.join(", ")}`);
    if (this.#watch.seen === 0) throw new Error("the watch over lightningd saw none at all");
  }

  /** Makes one cut and judges it. @throws in words what does not hold. */
  async cut(cut: Cut): Promise<Outcome> {
    const began = performance.now();
    const recorder = await Recorder.start(
      this.node,
      this.topology,
      `${this.#seed}-${this.outcomes.length + 1}`,
      cut.moment === "idle" ? cut.count : undefined,
    );
    let stopped = false;
    try {
      const goOn = await this.#reach(cut, recorder);
      const since = Date.now();
      const pulled = cut.fault === "disk pull" ? await this.#pull(recorder, cut) : undefined;
      const made = pulled ?? (await this.#make(cut.fault as Exclude<Fault, "disk pull">));
      goOn();
      stopped = true;
      await recorder.stop();
      const before = recorder.acknowledged.filter(({ at }) => made.from === undefined || at < made.from);
      const last = before.at(-1);
      const acknowledged = before.map(({ label }) => label);
      const judged =
        pulled === undefined
          ? await this.#judge(cut, acknowledged, since, made)
          : await this.#judgeSurvivor(pulled, acknowledged);
      const outcome: Outcome = {
        cut,
        ...judged,
        sinceAcknowledged:
          made.from === undefined || last === undefined ? undefined : Number(made.from - last.at) / 1e6,
        seconds: (performance.now() - began) / 1000,
      };
      this.outcomes.push(outcome);
      this.#log(describe(outcome, this.outcomes.length, acknowledged.length));
      return outcome;
    } catch (error) {
      const number = this.outcomes.length + 1;
      throw new Error(`cut ${number} (${JSON.stringify(cut)}): ${String(error)}\n${await this.#lastWords()}`, {
        cause: error,
      });
    } finally {
      if (!stopped) await recorder.stop();
    }
  }

  /** What the node's host says of itself, for whoever has to find out why. */
  async #lastWords(): Promise<string> {
    if ((await this.node.pid()) === 0) return `${this.node.name} is off`;
    const units = ["--unit=lightningd", "--unit=twofold-replica"];
    const ran = await this.lab.tryExec(
      this.node.name,
      "journalctl",
      ...units,
      "--no-pager",
      "--lines=40",
      "--output=cat",
    );
    return ran.stdout + ran.stderr;
  }

  /** Waits for the moment of the cut. @returns what lets a lightningd go on that was stopped for it */
  async #reach(cut: Cut, recorder: Recorder): Promise<() => void> {
    if (cut.moment === "idle") {
      const status = await recorder.ended();
      if (status !== 0 || recorder.acknowledged.length !== cut.count)
        throw new Error(
          `the writer ended with ${status} and ${recorder.acknowledged.length} of ${cut.count} before the cut`,
        );
      await delay(cut.delay);
      return () => {};
    }
    await recorder.more(1, FIRST_SECONDS);
    await delay(cut.delay);
    if (cut.moment === "between") {
      const reached = await writesReplica(this.mode, this.main, this.replica);
      const goOn = await stopLightningdWhen(this.node, FIRST_SECONDS, reached);
      if (goOn === undefined) throw new Error("lightningd was never seen between main and replica");
      return goOn;
    }
    // The cut follows an acknowledgement as closely as can be.
    await recorder.more(1, FIRST_SECONDS);
    return () => {};
  }

  async #make(fault: Exclude<Fault, "disk pull">): Promise<Made> {
    const { node } = this;
    switch (fault) {
      case "power cut of the node":
      case "power cut of the replica's host":
      case "power cut of both": {
        const hosts =
          fault === "power cut of both" ? this.hosts : [fault === "power cut of the node" ? node : this.replica.host];
        const { from } = await cutPower(hosts);
        return { from, bringBack: () => powerOn(hosts) };
      }
      case "kill -9":
        await killLightningd(node);
        return { bringBack: async () => {} };
      case "host kill":
        await killHost(node);
        return { bringBack: () => powerOn([node]) };
      case "link cut":
        await cutLink(node, this.replica.host);
        await eventually("lightningd has noticed that the replica is gone", UNREACHABLE_SECONDS, async () => {
          return (await lightningds(node)).length === 0;
        });
        return { bringBack: () => healLinks(node) };
    }
  }

  /** RAID-1 goes on without one disk, and what it acknowledges meanwhile is on the other. The host is off after it. */
  async #pull(recorder: Recorder, cut: Cut): Promise<Pulled> {
    const { node, main } = this;
    const disk = node.volumes.find(({ mount }) => mount === main.mount)?.disks.at(-1);
    if (disk === undefined) throw new Error("main's volume has no disk");
    const pid = await lightningd(node);
    await pullDisk(disk);
    // What an idle node does not write, a second writer does.
    const more =
      cut.moment === "idle"
        ? await Recorder.start(node, this.topology, `${this.#seed}-${this.outcomes.length + 1}b`)
        : recorder;
    try {
      await more.more(5, FIRST_SECONDS);
      await meetsErrors(node, main.mount, disk);
      await more.more(5, FIRST_SECONDS);
    } finally {
      if (more !== recorder) {
        await more.stop();
        recorder.acknowledged.push(...more.acknowledged);
      }
    }
    if ((await lightningd(node)) !== pid) throw new Error("lightningd did not go on without the disk");
    const wanted = [...this.#standing, ...recorder.acknowledged.map(({ label }) => label)];
    // What is read is the disk as a power cut leaves it, which has a row of its own, by which this mode loses the last commit.
    if (this.mode === "delete") await node.exec("btrfs", "filesystem", "sync", main.mount);
    const survivor = await readSurvivor(main, disk);
    const labels = new Set(survivor.labels);
    const lost = wanted.filter((label) => !labels.has(label));
    if (lost.length > 0) throw new Error(`the disk that was left does not have ${tell(lost)}`);
    return {
      survivor,
      bringBack: async () => {
        await returnDisk(disk);
        await powerOn([node]);
      },
    };
  }

  /** Nothing is lost on the disk that was left; the other one is returned and brought up to date, and the node has all that it told anybody. */
  async #judgeSurvivor(
    { survivor, bringBack }: Pulled,
    acknowledged: string[],
  ): Promise<Omit<Outcome, "cut" | "sinceAcknowledged" | "seconds">> {
    for (const label of acknowledged) this.#standing.add(label);
    const since = Date.now();
    await bringBack();
    const gate = await gateDecides(this.node, since, GATE_SECONDS);
    if (gate.verdict !== "start") throw new Error(`the gate said ${gate.code} after the disk was returned`);
    const labels = new Set(await nodeAnswers(this.node, this.topology, ANSWER_SECONDS));
    const lost = [...this.#standing].filter((label) => !labels.has(label));
    if (lost.length > 0) throw new Error(`the node lost ${tell(lost)} with the disk`);
    await scrubVolume(this.node, this.main.mount);
    return { main: survivor, replica: undefined, gate, lost, lostByMain: lost };
  }

  async #judge(
    cut: Cut,
    acknowledged: string[],
    since: number,
    { bringBack }: Made,
  ): Promise<Omit<Outcome, "cut" | "sinceAcknowledged" | "seconds">> {
    const replica = this.#replica && (await readCopy(this.#replica));
    const main = await readCopy(this.main);
    for (const label of acknowledged) this.#standing.add(label);
    const missing = (copy: Copy) => {
      const labels = new Set(copy.labels);
      return [...this.#standing].filter((label) => !labels.has(label));
    };
    const newest = replica && replica.dataVersion > main.dataVersion ? replica : main;
    const lost = missing(newest);
    const lostByMain = missing(main);
    this.#holdsPromise(cut.fault, lost, lostByMain, acknowledged);
    for (const label of lost) this.#standing.delete(label);

    const before = await this.#fingerprint();
    // As long as the node is down: it moves on as soon as it is up.
    const mark = await highestMark(this.hosts, this.topology);
    await bringBack();
    const gate = await gateDecides(this.node, since, GATE_SECONDS);
    const expected = this.#expectedOf(main, replica, mark);
    if (gate.code !== expected)
      throw new Error(
        `the gate said ${gate.code}, expected ${expected}: main ${main.dataVersion}, replica ${replica?.dataVersion}`,
      );
    if (gate.verdict === "refuse") await this.#repair(gate, main, before);
    const labels = new Set(await nodeAnswers(this.node, this.topology, ANSWER_SECONDS));
    const gone = [...this.#standing].filter((label) => !labels.has(label));
    if (gone.length > 0) throw new Error(`the node was started without ${tell(gone)}`);
    return { main, replica, gate, lost, lostByMain };
  }

  #fingerprint(): Promise<Record<string, string>> {
    return fingerprintOf(this.topology, this.node, [this.main, ...(this.#replica ? [this.#replica] : [])]);
  }

  /** What the survival table says is lost at most; a fault without a row loses nothing. */
  #holdsPromise(fault: Fault, lost: string[], lostByMain: string[], acknowledged: string[]): void {
    const failure = failureOf(fault);
    const row = survivalTable(this.topology).rows.find((one) => one.failure === failure)?.cells;
    const words = row === undefined ? "nothing" : row.lost;
    if (words === "the last acknowledged commit") {
      if (lost.length > 1 || (lost.length === 1 && lost[0] !== acknowledged.at(-1)))
        throw new Error(`${fault}: the table says ${words}, and the newest copy lost ${tell(lost)}`);
      return;
    }
    if (words !== "nothing") throw new Error(`${fault}: the table says ${words}, which this proof does not know`);
    if (lost.length > 0) throw new Error(`${fault}: the table says nothing is lost, and no copy has ${tell(lost)}`);
    const named = row === undefined || row.repair === "by itself" ? "main" : "the newest copy";
    if (named === "main" && lostByMain.length > 0)
      throw new Error(`${fault}: main has everything, says the table, but it lost ${tell(lostByMain)}`);
  }

  /** safety.md's table, for what a crash can leave. */
  #expectedOf(main: Copy, replica: Copy | undefined, mark: number | undefined): string {
    if (replica && replica.dataVersion > main.dataVersion) return "REPLICA_NEWER";
    if (mark === undefined) return "WITNESS_MISSING";
    if (mark > main.dataVersion) return "ROLLED_BACK";
    const behind = main.dataVersion - (replica ?? main).dataVersion;
    return behind === 0 ? "COPIES_AGREE" : behind === 1 ? "REPLICA_BEHIND" : "REPLICA_ANEW";
  }

  /** After a refusal nothing was touched; the verb that the survival table names for it brings the node back. */
  async #repair(gate: Verdict, main: Copy, before: Record<string, string>): Promise<void> {
    const after = await this.#fingerprint();
    const changed = Object.keys(before).filter((file) => before[file] !== after[file]);
    if (changed.length > 0) throw new Error(`the gate refused, and yet ${changed.join(", ")} changed`);
    // Every copy has lost the commit that a mark has seen: no copy is newer than main.
    const verb =
      gate.code === "ROLLED_BACK"
        ? ["witness", "rebuild", "--reason", "a power cut took the last commit", "--lower-to", `${main.dataVersion}`]
        : ["restore", "replica"];
    const repaired = await this.lab.verb(...verb);
    if (repaired.status !== 0) throw new Error(`${verb.join(" ")}: ${repaired.stdout}${repaired.stderr}`);
    await this.node.exec("systemctl", "start", "lightningd");
  }
}

const tell = (labels: string[]) => `${labels.length} acknowledged commit(s): ${labels.slice(-5).join(", ")}`;

function describe(
  { cut, main, replica, gate, lostByMain, lost, sinceAcknowledged, seconds }: Outcome,
  number: number,
  acknowledged: number,
): string {
  const copy = (name: string, found: Copy | undefined) =>
    found === undefined
      ? ""
      : `, ${name} ${found.dataVersion}${found.hotJournal ? " with a hot journal" : found.wal ? " with a WAL" : ""}`;
  const since = sinceAcknowledged === undefined ? "" : `, ${sinceAcknowledged.toFixed(0)} ms after the last`;
  const losses = lostByMain.length > 0 ? `, main lost ${lostByMain.length}, both lost ${lost.length}` : "";
  return `cut ${number}: ${cut.fault}, ${cut.moment}: ${acknowledged} acknowledged${since}${copy("main", main)}${copy("replica", replica)}${losses}, gate ${gate?.code ?? "not asked"} (${seconds.toFixed(1)} s)`;
}
