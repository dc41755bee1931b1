/** Renders the files of the witness stage. */
import { WITNESS_DIRECTORY, type WitnessDocument } from "../scripts/host/contract.ts";
import { fillTemplate } from "./load.ts";

type NodePart = NonNullable<WitnessDocument["node"]>;

export const WITNESS_UNITS = { service: "twofold-witness.service", timer: "twofold-witness.timer" } as const;
const SYSTEM = "/etc/systemd/system";

/** Units of the node's own host: a record at each clean stop, and samples while the node runs. */
export function witnessUnitFiles(node: NodePart): { path: string; content: string }[] {
  const { name, user, group } = node;
  return [
    {
      path: `${SYSTEM}/lightningd.service.d/twofold-witness.conf`,
      content: fillTemplate("lightningd-witness.conf", { directory: `${WITNESS_DIRECTORY}/${name}` }),
    },
    {
      path: `${SYSTEM}/${WITNESS_UNITS.service}`,
      content: fillTemplate("twofold-witness.service", { node: name, user, group }),
    },
    { path: `${SYSTEM}/${WITNESS_UNITS.timer}`, content: fillTemplate("twofold-witness.timer", { node: name }) },
  ];
}

const KEY = /^ssh-ed25519 [A-Za-z0-9+/]+=*$/;

/** The algorithm and the key of a public key file or a line of authorized_keys; undefined if it has no Ed25519 key. */
export function publicKeyOf(text: string): string | undefined {
  return /ssh-ed25519 [A-Za-z0-9+/]+=*/.exec(text)?.[0];
}

/** The one line of a node's account on another host: this key, and nothing but the witness (sshd(8), "AUTHORIZED_KEYS FILE FORMAT"). */
export function authorizedWitness(node: string, publicKey: string): string {
  if (!KEY.test(publicKey)) throw new Error(`not an Ed25519 public key: ${publicKey.slice(0, 60)}`);
  if (!/^[a-z][a-z0-9-]*$/.test(node)) throw new Error(`not a node's name: ${node}`);
  const command = `exec /usr/bin/node /usr/local/lib/twofold/current witness-serve ${node}`;
  return `restrict,command="${command}" ${publicKey} twofold witness ${node}\n`;
}
