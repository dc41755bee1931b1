/** Carries out the witness stage's own actions. */
import { rename, rm } from "node:fs/promises";
import { dirname } from "node:path";
import { setOwnership, syncDirectory } from "../files.ts";
import { must } from "../process.ts";
import type { WitnessAction } from "./plan.ts";

export async function applyWitness(action: WitnessAction): Promise<void> {
  switch (action.kind) {
    case "witness/make-key":
      return makeKey(action);
    case "witness/create-account": {
      const numbers = action.numbers
        ? ["--non-unique", "--uid", `${action.numbers.uid}`, "--gid", `${action.numbers.gid}`]
        : ["--gid", action.name];
      // "*": no password ever fits, and sshd does not take the account for locked, as it would with "!".
      const options = [
        "--system",
        "--home-dir",
        action.home,
        "--no-create-home",
        "--shell",
        "/bin/sh",
        "--password",
        "*",
      ];
      await must("useradd", [...options, ...numbers, action.name]);
      return;
    }
    case "witness/change-account":
      await must("usermod", ["--home", action.home, "--shell", "/bin/sh", action.name]);
      return;
  }
}

/** The private key gets its name last, so a key that is there is whole and has its public half. */
async function makeKey({
  path,
  user,
  group,
  comment,
}: Extract<WitnessAction, { kind: "witness/make-key" }>): Promise<void> {
  const temporary = `${path}.new`;
  for (const file of [temporary, `${temporary}.pub`]) await rm(file, { force: true });
  await must("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", temporary]);
  await setOwnership(temporary, { owner: user, group, mode: "0400" });
  await setOwnership(`${temporary}.pub`, { owner: "root", group: "root", mode: "0644" });
  await rename(`${temporary}.pub`, `${path}.pub`);
  await rename(temporary, path);
  await syncDirectory(dirname(path));
}
