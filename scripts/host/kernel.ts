/** What a host's kernel can do, as far as a stage needs something that not every kernel has. */
import { release } from "node:os";
import { readText } from "./read.ts";

export interface Kernel {
  release: string;
  /** Names of the filesystems that it has, and of the modules that it has or can load. */
  has: Set<string>;
}

/** Lines of /proc/filesystems: "nodev	sysfs", "	ext3". Only what is loaded already is among them. */
export function parseFilesystems(text: string): string[] {
  return text.split("\n").flatMap((line) => line.split("\t")[1] || []);
}

/** Lines of modules.dep or modules.builtin: "kernel/fs/nfsd/nfsd.ko.xz: kernel/fs/lockd/lockd.ko.xz …" */
export function parseModules(text: string): string[] {
  return text.split("\n").flatMap((line) => /([^/:]+)\.ko(\.\w+)?(:|$)/.exec(line)?.[1] ?? []);
}

export async function readKernel(): Promise<Kernel> {
  const read = async (path: string) => (await readText(path)) ?? "";
  const modules = `/lib/modules/${release()}`;
  const [filesystems, loadable, builtin] = await Promise.all([
    read("/proc/filesystems"),
    read(`${modules}/modules.dep`),
    read(`${modules}/modules.builtin`),
  ]);
  const names = [...parseFilesystems(filesystems), ...parseModules(loadable), ...parseModules(builtin)];
  return { release: release(), has: new Set(names) };
}
