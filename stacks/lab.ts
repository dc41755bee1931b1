/**
 * Lab hosts: Debian 13 containers with systemd, sshd and loop devices as disks.
 *
 * They only stand in for machines: the components that run on them are the very ones that a real node uses.
 */
import * as docker from "@pulumi/docker";
import type * as pulumi from "@pulumi/pulumi";
import { type LabConfig, labConfigSchema } from "./lab-schema.ts";

/** Where the image's start script and the lab's own programs lie inside a host. */
const LAB_DIRECTORY = "/usr/local/lib/twofold-lab";

/** A host as the components see it. */
export interface LabHost {
  /** Changes when the host is built anew: the container's id. Whatever is provisioned on the host depends on it. */
  machine: pulumi.Output<string>;
  /** To depend on. */
  resource: pulumi.Resource;
}

/**
 * Makes the hosts of `twofold:lab`.
 * @throws a zod error if the config isn't what set-up writes.
 */
export function createLabHosts(config: unknown): Map<string, LabHost> {
  const lab = labConfigSchema.parse(config);
  const labels = [{ label: "twofold.lab", value: lab.stack }];
  const network = new docker.Network("lab", { name: lab.network, labels });
  return new Map(Object.entries(lab.hosts).map(([name, host]) => [name, createHost(name, host, lab, network)]));
}

function createHost(name: string, host: LabConfig["hosts"][string], lab: LabConfig, network: docker.Network): LabHost {
  const disks = Object.entries(host.disks);
  const container = new docker.Container(`lab-${name}`, {
    name: host.container,
    image: lab.image,
    hostname: name,
    command: [`/usr/local/sbin/lab-start`, ...disks.map(([disk, device]) => `lab-${name}-${disk}=${device}`)],
    // systemd 257 wants a cgroup v2 tree of its own to write to, and mounts filesystems; nothing here needs --privileged.
    cgroupnsMode: "private",
    capabilities: { adds: ["CAP_MKNOD", "CAP_NET_ADMIN", "CAP_SYS_ADMIN", "CAP_SYS_PTRACE"] },
    securityOpts: ["apparmor=unconfined", "seccomp=unconfined"],
    // The engine knows no name of a host that is dead, and asks outside. A standby can't be promoted while it waits for that.
    dnsOpts: ["timeout:1", "attempts:1"],
    tmpfs: { "/run": "", "/tmp": "" },
    devices: [...disks.map(([, device]) => device), "/dev/btrfs-control", "/dev/fuse"].map((path) => ({
      hostPath: path,
      containerPath: path,
      permissions: "rwm",
    })),
    volumes: [
      { hostPath: lab.tools, containerPath: LAB_DIRECTORY, readOnly: true },
      { hostPath: host.keys, containerPath: "/usr/local/etc/lab-keys", readOnly: true },
      { hostPath: host.packages, containerPath: "/var/cache/apt/archives", readOnly: false },
    ],
    ports: [{ internal: 22, external: host.sshPort, ip: "127.0.0.1" }],
    networksAdvanced: [{ name: network.name, aliases: [name] }],
    labels: [
      { label: "twofold.lab", value: lab.stack },
      { label: "twofold.host", value: name },
    ],
    restart: "no",
    mustRun: true,
    stopSignal: "SIGRTMIN+3",
    destroyGraceSeconds: 5,
  });
  return { machine: container.id, resource: container };
}
