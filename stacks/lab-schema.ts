/**
 * What a lab adds to a stack: the lab file (`labs/NAME.yaml`, written by hand) and the `twofold:lab` config (written by set-up).
 *
 * Pure: no Pulumi here, so that set-up can validate a lab file without it.
 */
import { z } from "zod";

/** Host and disk names become parts of container names and of /dev/disk/by-id/lab-HOST-DISK. */
const word = z.string().regex(/^[a-z][a-z0-9]{0,14}$/, "a small letter, then small letters and digits, 15 at most");
const absolutePath = z.string().regex(/^\//, "an absolute path");

export const labFileSchema = z.strictObject({
  description: z.string().min(1).describe("One line that `npm run lab` prints."),
  hosts: z
    .record(
      word,
      z.strictObject({
        disks: z
          .record(word, z.string().regex(/^[1-9]\d*[MG]iB$/, "a size such as 512MiB or 2GiB"))
          .default({})
          .describe("Sparse disks of this host, seen there as /dev/disk/by-id/lab-HOST-DISK."),
      }),
    )
    .refine((hosts) => Object.keys(hosts).length > 0, "a lab has at least one host"),
  config: z
    .record(z.string().regex(/^twofold:[a-zA-Z]+$/, "a key such as twofold:node"), z.unknown())
    .describe(
      "The stack's config as an operator would write it. Set-up adds what only it knows: addresses, ports, keys, and lightningd's archive.",
    ),
});
export type LabFile = z.output<typeof labFileSchema>;

/** The `twofold:lab` config: everything that Docker has to be told, decided by set-up so that nothing is unknown at preview. */
export const labConfigSchema = z.strictObject({
  stack: z.string().describe("Value of the label `twofold.lab` on everything that this lab makes."),
  image: z.string().describe("Host image, tagged with the digest of its recipe."),
  network: z.string().describe("Docker network; hosts reach each other there by their names in the topology."),
  tools: absolutePath.describe("Directory on this machine with the lab's own programs, read-only in every host."),
  hosts: z.record(
    word,
    z.strictObject({
      container: z.string().describe("Container name."),
      sshPort: z.int().min(1).max(65535).describe("Port on 127.0.0.1 at which the host's SSH answers."),
      keys: absolutePath.describe(
        "Directory with the SSH host key and the authorised key, installed at the first start.",
      ),
      packages: absolutePath.describe("Directory that is the host's apt package cache."),
      disks: z.record(word, z.string().regex(/^\/dev\/loop\d+$/)).describe("Loop device of each disk."),
    }),
  ),
});
export type LabConfig = z.output<typeof labConfigSchema>;

/** Name of a lab disk inside its host. */
export function diskName(host: string, disk: string): string {
  return `/dev/disk/by-id/lab-${host}-${disk}`;
}
