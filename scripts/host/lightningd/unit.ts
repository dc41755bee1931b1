/** lightningd.service as systemd sees it. */
import { readFile } from "node:fs/promises";
import { LIGHTNINGD } from "../contract.ts";
import { must } from "../process.ts";

export interface UnitState {
  /** "not-found" before the unit's file is there. */
  load: string;
  /** "enabled", "disabled", …; empty without a unit file. */
  enabled: string;
  /** "active" from the gate's start on; "activating" also between two tries. */
  active: string;
  sub: string;
  /** systemd's mark of one start; another one means that the unit was started again. */
  invocation: string;
  /** 0 if there is no process. */
  mainPid: number;
  /** Exit status of the last main process. */
  lastStatus: number;
  /** Automatic restarts since the last start by hand. */
  restarts: number;
  needsReload: boolean;
  /** ISO 8601 time of the present start, undefined if it isn't running. */
  since: string | undefined;
}

const PROPERTIES = {
  load: "LoadState",
  enabled: "UnitFileState",
  active: "ActiveState",
  sub: "SubState",
  invocation: "InvocationID",
  mainPid: "MainPID",
  lastStatus: "ExecMainStatus",
  restarts: "NRestarts",
  needsReload: "NeedDaemonReload",
  since: "ActiveEnterTimestamp",
} as const;

/** Output of `systemctl show --timestamp=unix`. */
export function parseUnitState(text: string): UnitState {
  const values = new Map(
    text
      .split("\n")
      .filter((line) => line.includes("="))
      .map((line) => [line.slice(0, line.indexOf("=")), line.slice(line.indexOf("=") + 1)]),
  );
  const value = (key: keyof typeof PROPERTIES) => values.get(PROPERTIES[key]) ?? "";
  const seconds = Number(/^@(\d+)$/.exec(value("since"))?.[1] ?? Number.NaN);
  const running = value("active") === "active";
  return {
    load: value("load"),
    enabled: value("enabled"),
    active: value("active"),
    sub: value("sub"),
    invocation: value("invocation"),
    mainPid: Number(value("mainPid")),
    lastStatus: Number(value("lastStatus")),
    restarts: Number(value("restarts")),
    needsReload: value("needsReload") === "yes",
    since: running && Number.isFinite(seconds) ? new Date(seconds * 1000).toISOString() : undefined,
  };
}

export async function readUnitState(): Promise<UnitState> {
  const wanted = Object.values(PROPERTIES).join(",");
  return parseUnitState(await must("systemctl", ["show", "--timestamp=unix", `--property=${wanted}`, LIGHTNINGD.unit]));
}

/** True from the start job on until the last process is gone. */
export function isUp(unit: Pick<UnitState, "active">): boolean {
  return ["active", "activating", "deactivating", "reloading"].includes(unit.active);
}

/** An environment variable of a running process, undefined if there is none or the process is gone. */
export async function readProcessVariable(pid: number, name: string): Promise<string | undefined> {
  if (pid === 0) return undefined;
  const environment = await readFile(`/proc/${pid}/environ`, "utf8").catch(() => "");
  const found = environment.split("\0").find((entry) => entry.startsWith(`${name}=`));
  return found?.slice(name.length + 1);
}
