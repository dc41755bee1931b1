/**
 * A lab's node as the tests of single faults see it: what was acknowledged has to be there, whatever came; after a refusal of the gate not a
 * byte of hsm_secret and the wallet's copies is another. {@link NodeUnderFaults} is one whose wallet is in PostgreSQL, {@link TwoCopies} one with a replica.
 */
import { networkDirectory } from "../../components/topology/places.ts";
import type { Topology } from "../../components/topology/schema.ts";
import type { TestId } from "../../components/topology/survival/proofs.ts";
import type { Failure } from "../../components/topology/survival/row.ts";
import { sentenceOf, survivalTable } from "../../components/topology/survival.ts";
import { LIGHTNINGD } from "../../scripts/host/contract.ts";
import { eventually, type Lab } from "../helpers/lab.ts";
import { LightningdClient } from "../helpers/lightningd-client.ts";
import { recordPass } from "../helpers/proofs.ts";
import { outputOf } from "../helpers/run-program.ts";
import { type Copy, fingerprintOf, type Place, placesOf, readCopy } from "./copies.ts";
import { gateDecides, gateSays, nodeAnswers } from "./gate.ts";
import { Machine, topologyOf } from "./machine.ts";
import { lightningds } from "./processes.ts";
import { Recorder, socketOf } from "./recorder.ts";

export const ANSWER_SECONDS = 90;
export const GATE_SECONDS = 90;
/** The unit mounts what it wants; a start by which nothing is mounted is one whose mounts failed. */
export const WITHOUT_MOUNTS = "--job-mode=ignore-dependencies";

/** Passes count as proofs only with the real lightningd. */
export const REAL = process.env.TWOFOLD_LIGHTNINGD_ARCHIVE !== undefined;

export class NodeUnderFaults {
  readonly lab: Lab;
  readonly #seed: string;
  /** Labels of invoices that were acknowledged and that the node has to have. */
  readonly #standing = new Set<string>();
  topology: Topology;
  /** Of the topology's hosts, by name. */
  machines: Machine[];

  constructor(lab: Lab, seed: string) {
    this.lab = lab;
    this.#seed = seed;
    this.topology = topologyOf(lab);
    this.machines = machinesOf(lab, this.topology);
  }

  /** To be called when the lab's config has changed. */
  reread(): void {
    this.topology = topologyOf(this.lab);
    this.machines = machinesOf(this.lab, this.topology);
  }

  get node(): Machine {
    return this.machine(this.topology.node.host);
  }

  /** Mount point of the node's volume. */
  get mount(): string {
    return this.topology.node.volume.mount;
  }

  machine(name: string): Machine {
    const found = this.machines.find((machine) => machine.name === name);
    if (found === undefined) throw new Error(`the topology has no host ${name}`);
    return found;
  }

  get secret(): string {
    return `${networkDirectory(this.topology)}/hsm_secret`;
  }

  /** What the survival table promises for a failure of this topology. */
  cells(failure: Failure): Record<"lost" | "standsStill" | "repair", string> {
    const cells = survivalTable(this.topology).cells[failure];
    if (cells === undefined) throw new Error(`the table has no row for ${failure}`);
    return cells;
  }

  /** Holds the table's row of a failure to what the test that follows proves. @throws if it says something else */
  promised(failure: Failure, standsStill: RegExp, repair: RegExp): void {
    const cells = this.cells(failure);
    const wrong = [
      cells.lost === "nothing" ? undefined : `lost at most: ${cells.lost}`,
      standsStill.test(cells.standsStill) ? undefined : `stands still: ${cells.standsStill}`,
      repair.test(cells.repair) ? undefined : `repair: ${cells.repair}`,
    ].filter((part) => part !== undefined);
    if (wrong.length > 0) throw new Error(`the table's row of ${failure} is another than is proved here: ${wrong}`);
  }

  /** A verb of the operator's that has to succeed. */
  async verb(...words: string[]): Promise<string> {
    return outputOf(await this.lab.verb(...words));
  }

  async stop(): Promise<void> {
    await this.node.exec("systemctl", "stop", LIGHTNINGD.unit);
  }

  /** @returns the time before the start, for what the gate says after it */
  async start(...options: string[]): Promise<number> {
    const since = Date.now();
    await this.node.exec("systemctl", "reset-failed", LIGHTNINGD.unit);
    await this.node.exec("systemctl", "start", "--no-block", ...options, LIGHTNINGD.unit);
    return since;
  }

  /** Waits until no lightningd runs. */
  async ended(): Promise<void> {
    await eventually("lightningd is stopped", ANSWER_SECONDS, async () => (await lightningds(this.node)).length === 0);
  }

  writer(name: string, count?: number): Promise<Recorder> {
    return Recorder.start(this.node, this.topology, `${this.#seed}-${name}`, count);
  }

  /** What a writer got acknowledged has to be there from now on. */
  keep({ acknowledged }: Recorder): void {
    for (const { label } of acknowledged) this.#standing.add(label);
  }

  /** Makes invoices that have to be there from now on. */
  async commit(name: string, count: number): Promise<void> {
    const recorder = await this.writer(name, count);
    const status = await recorder.ended();
    await recorder.stop();
    if (status !== 0 || recorder.acknowledged.length !== count) throw new Error(`the writer ended with ${status}`);
    this.keep(recorder);
  }

  /** Writes until lightningd is gone, which the fault before has to lead to. */
  async writeToTheEnd(name: string): Promise<void> {
    const recorder = await this.writer(name);
    const status = await recorder.ended();
    await recorder.stop();
    this.keep(recorder);
    if (status !== 3) throw new Error(`the writer ended with ${status}: lightningd was to go away under it`);
  }

  /** The node answers and has every invoice. */
  async nothingIsLost(): Promise<void> {
    const labels = new Set(await nodeAnswers(this.node, this.topology, ANSWER_SECONDS));
    const lost = [...this.#standing].filter((label) => !labels.has(label));
    if (lost.length > 0)
      throw new Error(`the node runs without ${lost.length} acknowledged invoices: ${lost.slice(-5)}`);
    if (this.#standing.size === 0) throw new Error("no invoice was acknowledged yet: nothing could be lost");
  }

  /** What a refusal must not touch, by path. */
  protected fingerprint(): Promise<Record<string, string>> {
    return fingerprintOf(this.topology, this.node, []);
  }

  /** Starts, and checks that the gate refuses with this code, that the unit gives up, and that nothing was touched. */
  async refusedWith(code: string): Promise<void> {
    const before = await this.fingerprint();
    const gate = await gateDecides(this.node, await this.start(), GATE_SECONDS);
    if (gate.verdict !== "refuse" || gate.code !== code)
      throw new Error(`the gate said ${gate.verdict} ${gate.code}, expected to refuse with ${code}`);
    await eventually("the unit has given up", GATE_SECONDS, async () => {
      const state = await this.lab.tryExec(this.node.name, "systemctl", "is-failed", LIGHTNINGD.unit);
      return state.stdout.trim() === "failed";
    });
    const after = await this.fingerprint();
    for (const [file, digest] of Object.entries(before))
      if (after[file] !== digest) throw new Error(`the gate refused with ${code}, and yet ${file} changed`);
  }

  /** Starts, and checks that the gate waits with this code; no lightningd runs. */
  async waitsWith(code: string, ...options: string[]): Promise<void> {
    await this.waiting(code, await this.start(...options));
  }

  /** The same for a start that is under way. */
  async waiting(code: string, since: number): Promise<void> {
    const gate = await gateSays(this.node, since, GATE_SECONDS);
    if (gate.verdict !== "wait" || gate.code !== code)
      throw new Error(`the gate said ${gate.verdict} ${gate.code}, expected to wait with ${code}`);
    const running = await lightningds(this.node);
    if (running.length > 0) throw new Error(`lightningd runs (${running}) while its gate waits`);
  }

  /**
   * Writes down that a test of the survival table has passed.
   * @param setup "any" where nothing of the topology decides the outcome
   */
  async passed(id: TestId, setup?: "any"): Promise<void> {
    if (!REAL) return;
    const client = await LightningdClient.connect(await socketOf(this.node, this.topology));
    try {
      const sentence = sentenceOf(id, this.topology);
      recordPass(
        { ...sentence, setup: setup ?? sentence.setup },
        { lightningd: (await client.getinfo()).version, runs: 1 },
      );
    } finally {
      client.close();
    }
  }
}

/** A node with a wallet in SQLite, and a replica of it. */
export class TwoCopies extends NodeUnderFaults {
  main: Place;
  replica: Place;

  constructor(lab: Lab, seed: string) {
    super(lab, seed);
    const { main, replica } = placesOf(this.topology, this.machines);
    this.main = main;
    this.replica = replica;
  }

  override reread(): void {
    super.reread();
    Object.assign(this, placesOf(this.topology, this.machines));
  }

  /** The replica's host. */
  get vault(): Machine {
    return this.replica.host;
  }

  /** Both files as they lie on their disks; the node is stopped. @throws if they do not hold the same */
  async copiesAgree(): Promise<Copy> {
    const [main, replica] = [await readCopy(this.main), await readCopy(this.replica)];
    const differ = main.labels.filter((label, index) => label !== replica.labels[index]);
    if (main.dataVersion !== replica.dataVersion || main.labels.length !== replica.labels.length || differ.length > 0)
      throw new Error(
        `main ${main.dataVersion} with ${main.labels.length} invoices, replica ${replica.dataVersion} with ${replica.labels.length}`,
      );
    return main;
  }

  protected override fingerprint(): Promise<Record<string, string>> {
    return fingerprintOf(this.topology, this.node, [this.main, this.replica]);
  }

  /** Replica to main, as the gate's refusal says, and a start. */
  async restore(): Promise<void> {
    await this.verb("restore", "replica");
    await this.start();
    await this.nothingIsLost();
  }
}

const machinesOf = (lab: Lab, topology: Topology) =>
  Object.keys(topology.hosts).map((name) => new Machine(lab, topology, name));
