/** `./twofold status`: the node, its copies, devices and mounts, from all hosts at once. */
import type { GateReport } from "../host/commands/gate.ts";
import type { HostStatus } from "../host/commands/status.ts";
import { EXIT } from "../host/contract.ts";
import { describeDecision, describeObserved } from "../host/gate/report.ts";
import type { FlushLatency } from "../host/postgres/copy.ts";
import { isSynchronous, type PatroniMember } from "../host/postgres/patroni.ts";
import type { ClusterStatus } from "../host/postgres/status.ts";
import type { NodeStatus } from "../host/status/node.ts";
import type { DeviceStatus, ScrubStatus, VolumeStatus } from "../host/status/volume.ts";
import { RENEW_DAYS } from "../host/tls/certificate.ts";
import { alertLines } from "./alerts.ts";
import { type Answer, ask } from "./ask.ts";
import { loadStack } from "./load.ts";
import type { StackChoice } from "./locate.ts";

export async function status(options: StackChoice & { json?: true }): Promise<number> {
  const stack = loadStack(options);
  const answers = await Promise.all(
    stack.hosts.map((host) => ask<HostStatus>(host, ["status"], stack.documents(host))),
  );
  process.stdout.write(
    options.json
      ? `${JSON.stringify({ stack: stack.name, hosts: answers.map(toJson) })}\n`
      : `${answers.map(hostText).join("\n")}`,
  );
  return answers.every(({ kind }) => kind === "answer") ? EXIT.ok : EXIT.failed;
}

function toJson(answer: Answer<HostStatus>): object {
  return answer.kind === "answer" ? answer.value : { host: answer.host, error: answer.error };
}

/** Pure. */
export function hostText(answer: Answer<HostStatus>): string {
  if (answer.kind !== "answer") {
    const fix = answer.kind === "no-program" ? "\nto do: run pulumi up" : "";
    return `${answer.host}: no answer\n${indent(answer.error + fix)}\n`;
  }
  const { alerts, node, gate, volumes, cluster } = answer.value;
  const parts = [
    ...(alerts === undefined ? [] : alertLines(alerts)),
    ...(node === undefined ? [] : nodeLines(node)),
    ...(gate === undefined ? [] : gateLines(gate)),
    ...volumes.flatMap(volumeLines),
    ...(cluster === undefined ? [] : clusterLines(answer.host, cluster)),
  ];
  return `${answer.host}\n${indent(parts.length === 0 ? "nothing to report" : parts.join("\n"))}\n`;
}

function nodeLines({ name, network, unit, info }: NodeStatus): string[] {
  const since = unit.since === undefined ? "" : ` since ${unit.since}`;
  const restarts = unit.restarts === 0 ? "" : `, restarted ${unit.restarts} times`;
  const lines = [`node ${name} (${network}): ${unit.active}, ${unit.sub}${since}${restarts}`];
  if (info !== undefined) {
    return [
      ...lines,
      `  id ${info.id}`,
      `  alias ${info.alias}, ${info.version}, block ${info.blockheight}, ${info.peers} peers, ${info.activeChannels} active channels`,
    ];
  }
  return [...lines, "  lightningd does not answer; journalctl -u lightningd.service on the host says why"];
}

/** What the gate sees; what it would decide is said only of a node that stands still. */
function gateLines({ running, decision, seen }: GateReport): string[] {
  return [...(running ? [] : describeDecision(decision)), ...describeObserved(seen)];
}

/** The host's own member, and of the primary's host the whole cluster: every host would say the same. */
function clusterLines(host: string, status: ClusterStatus): string[] {
  const { postgres, members, paused, copy, flush, etcd, certificates } = status;
  const own = members?.find(({ name }) => name === host);
  const shown = own?.role === "leader" ? (members ?? []) : own === undefined ? [] : [own];
  return [
    ...(postgres && members === undefined
      ? ["PostgreSQL: PATRONI DOES NOT ANSWER; systemctl status patroni says why"]
      : []),
    ...shown.map((member) => `PostgreSQL: ${memberText(member)}`),
    ...(paused
      ? ["PostgreSQL: PATRONI IS PAUSED, and no member takes over from a dead primary; ./twofold repair ends it"]
      : []),
    ...(copy === undefined
      ? []
      : [`wallet here: data_version ${copy.dataVersion ?? "none yet"}, log up to ${copy.position}`]),
    ...(flush === undefined ? [] : [`a commit is flushed: ${flush.map(flushText).join("; ") || "BY NO STANDBY"}`]),
    ...(etcd === undefined ? [] : [`etcd: ${etcd ? "answers, with a majority" : "NO MAJORITY, OR NOT RUNNING"}`]),
    ...Object.entries(certificates).map(([role, days]) => `certificate ${role}: ${certificateText(days)}`),
  ];
}

function memberText({ name, role, state, timeline, lag, pending_restart }: PatroniMember): string {
  const words = [
    role === "leader" ? "primary" : isSynchronous({ role }) ? "synchronous standby" : role,
    state,
    ...(timeline === undefined ? [] : [`timeline ${timeline}`]),
    ...(lag === undefined || lag === 0 ? [] : [`${lag} bytes behind`]),
    ...(pending_restart ? ["A RESTART IS PENDING"] : []),
  ];
  return `${name}: ${words.join(", ")}`;
}

/** As it was measured for this very status. */
function flushText({ name, sync, ms }: FlushLatency): string {
  const when = ms === null ? "NOT IN TIME" : `after ${ms} ms`;
  return `by ${name} ${when}${sync ? " (commits wait for it)" : ""}`;
}

function certificateText(days: number): string {
  if (days < 0) return `ENDED ${-days} days ago; ./twofold certificates renew`;
  return days < RENEW_DAYS ? `ENDS IN ${days} DAYS; ./twofold certificates renew` : `good for ${days} days`;
}

function volumeLines(volume: VolumeStatus): string[] {
  if (!volume.mounted) {
    return [`volume ${volume.name} at ${volume.mount}: NOT MOUNTED: ${volume.problem ?? ""}`];
  }
  const free = volume.bytesFree === undefined ? "" : `, ${gibibytes(volume.bytesFree)} free`;
  return [
    `volume ${volume.name} at ${volume.mount}: mounted, ${profileText(volume)}${free}`,
    ...volume.devices.map((device) => `  device ${deviceText(device)}`),
    `  ${scrubText(volume.scrub)}`,
  ];
}

/** A filesystem on one device keeps its metadata twice, as mkfs.btrfs(8) does by itself. */
function profileText({ profile, profiles }: VolumeStatus): string {
  const expected = profile === "single" ? ["dup", "single"] : [profile];
  return profiles.every((each) => expected.includes(each))
    ? profile
    : `${profiles.join(" and ")}, DECLARED AS ${profile}`;
}

function deviceText({ id, path, bytes, errors }: DeviceStatus): string {
  const counts = Object.entries(errors ?? {}).filter(([, count]) => count > 0);
  const said = counts.length === 0 ? "no errors" : `ERRORS: ${counts.map(([kind, n]) => `${kind} ${n}`).join(", ")}`;
  return path === undefined ? `${id}: MISSING` : `${id}: ${path}, ${gibibytes(bytes)}, ${said}`;
}

function scrubText(scrub: ScrubStatus | undefined): string {
  if (scrub === undefined) {
    return "never scrubbed";
  }
  const lost = scrub.uncorrectable === 0 ? "" : `, ${scrub.uncorrectable} UNCORRECTABLE`;
  return `last scrub ${scrub.started}: ${scrub.state}, ${scrub.errors}${lost}`;
}

function gibibytes(bytes: number): string {
  return `${(bytes / 2 ** 30).toFixed(1)} GiB`;
}

function indent(text: string): string {
  return text
    .split("\n")
    .map((line) => `  ${line}`)
    .join("\n");
}
