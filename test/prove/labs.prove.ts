/** `npm run prove -- labs`: lab `postgres` up and down TWOFOLD_RUNS times (10); nothing of any of them is left on this machine. */
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { loadavg } from "node:os";
import test from "ava";
import { labsDirectory } from "../../scripts/setup/environment.mjs";
import { local } from "../faults/machine.ts";
import { Lab } from "../helpers/lab.ts";

const RUNS = Number(process.env.TWOFOLD_RUNS || 10);

/** Everything on this machine that carries a stack's name, in words. */
async function leftOf(stack: string): Promise<string[]> {
  const [containers, networks, loops] = await Promise.all([
    local("docker", "ps", "--all", "--format", "{{.Names}}"),
    local("docker", "network", "ls", "--format", "{{.Name}}"),
    local("losetup", "--list", "--noheadings", "--output", "NAME,BACK-FILE"),
  ]);
  const lines = (kind: string, text: string) =>
    text
      .split("\n")
      .filter((line) => line.includes(stack))
      .map((line) => `${kind} ${line}`);
  return [
    ...lines("container", containers),
    ...lines("network", networks),
    ...lines("loop device", loops),
    ...lines("mount", readFileSync("/proc/mounts", "utf8")),
    ...lines("file", readdirSync(labsDirectory()).join("\n")),
    ...lines("process", processes()),
  ];
}

/** Command lines and working directories of all processes but this one's own. */
function processes(): string {
  return readdirSync("/proc")
    .filter((entry) => /^\d+$/.test(entry) && Number(entry) !== process.pid)
    .flatMap((pid) => {
      try {
        const words = readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ");
        return [`${pid} ${words} in ${readlinkSync(`/proc/${pid}/cwd`)}`];
      } catch {
        return []; // it has ended
      }
    })
    .join("\n");
}

test(`lab postgres up and down ${RUNS} times leaves nothing behind`, async (t) => {
  for (let run = 1; run <= RUNS; run++) {
    const began = performance.now();
    const lab = await Lab.up({ name: "postgres", log: () => {} });
    const seconds = (performance.now() - began) / 1000;
    try {
      await lab.invoice("alice", `run-${run}`);
      const there = await leftOf(lab.stack);
      // The look itself has to see a lab that is there.
      for (const kind of ["container", "network", "loop device", "mount", "file"])
        t.true(
          there.some((each) => each.startsWith(kind)),
          kind,
        );
    } finally {
      await lab.down();
    }
    t.deepEqual(await leftOf(lab.stack), []);
    t.log(`run ${run}: up with an invoice after ${seconds.toFixed(0)} s, load ${loadavg()[0]?.toFixed(1)}`);
  }
});
