/** docker:index/container:Container: a lab host. */
import type { ContainerCreateOptions, ContainerInspectInfo } from "dockerode";
import { checkInputs } from "../inputs.ts";
import type { ResourceKind } from "../serve.ts";
import { type Properties, plain } from "../wire.ts";
import { diffOf, engine, isAbsent, type Label, labelMap } from "./engine.ts";
import { containerShape } from "./shapes.ts";

interface Inputs {
  name: string;
  image: string;
  hostname?: string;
  command?: string[];
  cgroupnsMode?: "private" | "host";
  capabilities?: { adds?: string[] };
  securityOpts?: string[];
  dnsOpts?: string[];
  tmpfs?: Record<string, string>;
  devices?: { hostPath: string; containerPath?: string; permissions?: string }[];
  volumes?: { hostPath: string; containerPath: string; readOnly?: boolean }[];
  ports?: { internal: number; external?: number; ip?: string }[];
  networksAdvanced?: { name: string; aliases?: string[] }[];
  labels?: Label[];
  restart?: "no" | "on-failure" | "always" | "unless-stopped";
  mustRun?: boolean;
  stopSignal?: string;
  destroyGraceSeconds?: number;
}

export const container: ResourceKind = {
  check: (inputs) => ({ inputs, failures: checkInputs(inputs, containerShape, "docker:index/container:Container") }),

  diff: (state, inputs) =>
    diffOf(state, inputs, {
      known: Object.keys(containerShape.object),
      sets: ["capabilities", "securityOpts", "dnsOpts", "devices", "volumes", "networksAdvanced", "labels"],
      // A changed tmpfs is recorded and not acted on, as in the real plugin.
      updated: ["restart", "mustRun", "tmpfs", "destroyGraceSeconds"],
    }),

  async create(_name, inputs) {
    const wanted = plain(inputs) as Inputs;
    const made = await engine.createContainer(createOptions(wanted)).catch((error) => {
      throw new Error(`Unable to create container ${wanted.name} with image ${wanted.image}: ${error.message}`);
    });
    try {
      await joinNetworks(made.id, wanted);
      await made.start();
    } catch (error) {
      // Nothing is left behind: a container that Pulumi does not know would hold its name against the next `up`.
      await engine.getContainer(made.id).remove({ force: true, v: true });
      throw new Error(`Unable to start container ${wanted.name}: ${(error as Error).message}`);
    }
    return { id: made.id, outs: { ...inputs, ...outputsOf(await made.inspect()) } };
  },

  async read(id, state) {
    try {
      const now = await engine.getContainer(id).inspect();
      // Differs from the inputs, so that the next `up` starts it; one with ports is made anew, since it has none while it is
      // stopped (both as in the real plugin).
      const { ports = [] } = plain(state) as Inputs;
      const stopped = now.State.Running ? {} : { mustRun: false, ...(ports.length > 0 ? { ports: [] } : {}) };
      return { id, props: { ...state, ...outputsOf(now), ...stopped } };
    } catch (error) {
      if (isAbsent(error)) return { id: "", props: {} };
      throw error;
    }
  },

  async update(id, state, inputs) {
    const before = plain(state) as Inputs;
    const after = plain(inputs) as Inputs;
    const running = engine.getContainer(id);
    if (before.mustRun === false && after.mustRun !== false) await running.start();
    if (before.restart !== after.restart) await running.update({ RestartPolicy: { Name: after.restart ?? "no" } });
    return { outs: { ...inputs, ...outputsOf(await running.inspect()) } };
  },

  async delete(id, state) {
    const { destroyGraceSeconds = 0 } = plain(state) as Inputs;
    const doomed = engine.getContainer(id);
    try {
      await doomed.stop({ t: destroyGraceSeconds }).catch((error) => {
        if (error.statusCode !== 304) throw error; // 304: it is stopped already
      });
      await doomed.remove({ force: true, v: true });
    } catch (error) {
      if (!isAbsent(error)) throw new Error(`Error deleting container ${id}: ${(error as Error).message}`);
    }
  },
};

function createOptions(wanted: Inputs): ContainerCreateOptions {
  const ports = (wanted.ports ?? []).map((port) => ({ ...port, key: `${port.internal}/tcp` }));
  return {
    name: wanted.name,
    Image: wanted.image,
    ...(wanted.hostname === undefined ? {} : { Hostname: wanted.hostname }),
    ...(wanted.command === undefined ? {} : { Cmd: wanted.command }),
    ...(wanted.stopSignal === undefined ? {} : { StopSignal: wanted.stopSignal }),
    Labels: labelMap(wanted.labels),
    ExposedPorts: Object.fromEntries(ports.map(({ key }) => [key, {}])),
    HostConfig: {
      NetworkMode: "bridge",
      Init: false,
      RestartPolicy: { Name: wanted.restart ?? "no" },
      CapAdd: wanted.capabilities?.adds ?? [],
      SecurityOpt: wanted.securityOpts ?? [],
      ...(wanted.dnsOpts === undefined ? {} : { DnsOptions: wanted.dnsOpts }),
      ...(wanted.cgroupnsMode === undefined ? {} : { CgroupnsMode: wanted.cgroupnsMode }),
      Tmpfs: wanted.tmpfs ?? {},
      Devices: (wanted.devices ?? []).map(({ hostPath, containerPath, permissions }) => ({
        PathOnHost: hostPath,
        PathInContainer: containerPath ?? hostPath,
        CgroupPermissions: permissions ?? "rwm",
      })),
      Binds: (wanted.volumes ?? []).map(
        ({ hostPath, containerPath, readOnly }) => `${hostPath}:${containerPath}:${readOnly ? "ro" : "rw"}`,
      ),
      PortBindings: Object.fromEntries(
        ports.map(({ key, external, ip }) => [
          key,
          [{ HostIp: ip ?? "0.0.0.0", HostPort: external === undefined ? "" : String(external) }],
        ]),
      ),
    },
  };
}

/** A container is born on the default bridge; with networks of its own it leaves that and joins them before it starts. */
async function joinNetworks(id: string, { networksAdvanced = [] }: Inputs): Promise<void> {
  if (networksAdvanced.length === 0) return;
  await engine.getNetwork("bridge").disconnect({ Container: id });
  for (const { name, aliases } of networksAdvanced) {
    await engine.getNetwork(name).connect({ Container: id, EndpointConfig: { Aliases: aliases ?? [] } });
  }
}

function outputsOf(now: ContainerInspectInfo): Properties {
  return {
    networkDatas: Object.entries(now.NetworkSettings.Networks).map(([networkName, endpoint]) => ({
      networkName,
      ipAddress: endpoint.IPAddress,
      ipPrefixLength: endpoint.IPPrefixLen,
      gateway: endpoint.Gateway,
      globalIpv6Address: endpoint.GlobalIPv6Address,
      globalIpv6PrefixLength: endpoint.GlobalIPv6PrefixLen,
      ipv6Gateway: endpoint.IPv6Gateway,
      macAddress: endpoint.MacAddress,
    })),
  };
}
