/**
 * A lab host as a fault meets it: its container, the process that holds its namespaces, its volumes and their disks.
 *
 * Faults are made from this machine and never through the host's own SSH: a host that is frozen, cut off or dead cannot help.
 * Its files are read below /proc/PID/root, its network is entered with nsenter(1), its disks are image files here.
 *
 *     const [alice, vault] = machinesOf(lab);
 *     await cutPower([alice]);            // power.ts
 *     await cutLink(alice, vault);        // links.ts
 *     await pullDisk(alice, "b");         // disks.ts
 *     await killLightningd(alice);        // processes.ts
 *
 * Each fault returns only when it has seen that it took effect, or throws.
 */
import { join } from "node:path";
import { parseTopology } from "../../components/topology/parse.ts";
import { volumesOf } from "../../components/topology/places.ts";
import type { Topology } from "../../components/topology/schema.ts";
import { readStackConfig } from "../../components/topology/stack-config.ts";
import { diskName } from "../../stacks/lab-schema.ts";
import type { Lab } from "../helpers/lab.ts";
import { outputOf, type Ran, runProgram } from "../helpers/run-program.ts";

/** One of a host's disks: an image in the lab's store behind a loop device. */
export interface Disk {
  name: string;
  file: string;
  device: string;
}

export interface Volume {
  mount: string;
  disks: Disk[];
}

export class Machine {
  readonly lab: Lab;
  readonly name: string;
  readonly container: string;
  readonly volumes: Volume[];
  /** On all volumes together. */
  readonly disks: Disk[];

  constructor(lab: Lab, topology: Topology, name: string) {
    this.lab = lab;
    this.name = name;
    this.container = lab.container(name);
    const disks = Object.entries(lab.facts.hosts[name]?.disks ?? {}).map(([disk, { file, device }]) => {
      if (device === null) throw new Error(`disk ${disk} of ${name} has no loop device`);
      return { name: disk, file, device };
    });
    this.volumes = volumesOf(topology, name).map(({ spec }) => ({
      mount: spec.mount,
      disks: disks.filter((disk) => spec.devices.includes(diskName(name, disk.name))),
    }));
    this.disks = this.volumes.flatMap((volume) => volume.disks);
  }

  disk(name: string): Disk {
    const found = this.disks.find((disk) => disk.name === name);
    if (found === undefined)
      throw new Error(`${this.name} has no disk ${name}; it has ${this.disks.map((disk) => disk.name).join(", ")}`);
    return found;
  }

  /** The host's first process as this machine numbers it; 0 while the host is off. */
  async pid(): Promise<number> {
    return Number(await local("docker", "inspect", "--format", "{{.State.Pid}}", this.container));
  }

  /** Its first process. @throws if the host is off. */
  async running(): Promise<number> {
    const pid = await this.pid();
    if (pid === 0) throw new Error(`${this.name} is off`);
    return pid;
  }

  /** Where this machine sees a path of the running host. */
  async path(path: string): Promise<string> {
    return join("/proc", `${await this.running()}`, "root", path);
  }

  /** Runs a program of this machine in the host's network, whatever it ends with. */
  async tryInNetwork(...words: string[]): Promise<Ran> {
    return runProgram("nsenter", ["--target", `${await this.running()}`, "--net", ...words]);
  }

  /** The same for one that has to succeed. @returns its trimmed standard output */
  async inNetwork(...words: string[]): Promise<string> {
    return outputOf(await this.tryInNetwork(...words)).trim();
  }

  /** Runs a program of the host in the host. */
  exec(...words: string[]): Promise<string> {
    return this.lab.exec(this.name, ...words);
  }

  /** The host's address on the lab's network. */
  async address(): Promise<string> {
    const format = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
    return local("docker", "inspect", "--format", format, this.container);
  }
}

/** The topology that a lab was made from. */
export function topologyOf(lab: Lab): Topology {
  const { stack, config } = readStackConfig(lab.facts.configFile);
  const parsed = parseTopology(config, stack);
  if (!parsed.ok) throw new Error(`the lab's own config is refused: ${JSON.stringify(parsed.problems)}`);
  return parsed.topology;
}

/** Trimmed standard output of a program of this machine that has to succeed. */
export async function local(program: string, ...words: string[]): Promise<string> {
  return outputOf(await runProgram(program, words)).trim();
}
