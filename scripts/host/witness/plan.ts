/** What is to be done so that this host keeps the marks that its document gives it. Pure. */
import { dirname } from "node:path";
import { authorizedWitness, WITNESS_UNITS, witnessUnitFiles } from "../../../templates/witness.ts";
import { LIGHTNINGD, NODE_STATE, type Ownership, STATE_DIRECTORY, type WitnessDocument } from "../contract.ts";
import { planDirectory, planFile, planReload, planRunningUnit, ROOT_DIRECTORY, ROOT_FILE } from "../planning.ts";
import { type CommonAction, type ItemName, Refusal } from "../stage.ts";
import { authorizedKeys, PEER_HOMES, peerHome, WITNESS_KEY, type WitnessFacts } from "./facts.ts";
import { nodeDirectory } from "./store.ts";

interface Own {
  item: ItemName;
  summary: string;
}

export type WitnessAction =
  | (Own & { kind: "witness/make-key"; path: string; user: string; group: string; comment: string })
  | (Own & { kind: "witness/create-account"; name: string; home: string; numbers?: { uid: number; gid: number } })
  | (Own & { kind: "witness/change-account"; name: string; home: string });

type Action = CommonAction | WitnessAction;
type NodePart = NonNullable<WitnessDocument["node"]>;
type Writer = WitnessDocument["writers"][number];

/** A forced command is run by the account's shell (sshd(8)). */
const SHELL = "/bin/sh";

export function witnessItems(document: WitnessDocument): ItemName[] {
  const { node } = document;
  return [
    `directory:${document.directory}`,
    ...(node
      ? [
          `directory:${nodeDirectory(node.name, document.directory)}`,
          `directory:${NODE_STATE.directory}`,
          `file:${NODE_STATE.startLock}`,
          `key:${WITNESS_KEY}`,
          ...witnessUnitFiles(node).map(({ path }) => `file:${path}`),
          `unit:${WITNESS_UNITS.timer}`,
        ]
      : []),
    ...document.writers.flatMap((writer) => [
      `user:${writer.account}`,
      `directory:${nodeDirectory(writer.node, document.directory)}`,
      `directory:${peerHome(writer.node)}`,
      `directory:${dirname(authorizedKeys(writer.node))}`,
      `file:${authorizedKeys(writer.node)}`,
    ]),
  ] as ItemName[];
}

export function planWitness(facts: WitnessFacts, document: WitnessDocument): Action[] {
  return [
    ...(facts.entries.get(STATE_DIRECTORY) === undefined
      ? planDirectory(STATE_DIRECTORY, undefined, ROOT_DIRECTORY)
      : []),
    ...planDirectory(document.directory, facts.entries.get(document.directory), ROOT_DIRECTORY),
    ...(document.node ? planNode(facts, document, document.node) : []),
    ...document.writers.flatMap((writer) => planWriter(facts, document, writer)),
  ];
}

function planNode(facts: WitnessFacts, document: WitnessDocument, node: NodePart): Action[] {
  const entry = (path: string) => facts.entries.get(path);
  const own = nodeDirectory(node.name, document.directory);
  const files = witnessUnitFiles(node);
  const unitActions = files.flatMap(({ path, content }) => [
    ...(entry(dirname(path)) === undefined ? planDirectory(dirname(path), undefined, ROOT_DIRECTORY) : []),
    ...planFile(path, entry(path), content, ROOT_FILE),
  ]);
  return [
    ...planDirectory(own, entry(own), { owner: node.user, group: node.group, mode: "0700" }),
    ...planDirectory(NODE_STATE.directory, entry(NODE_STATE.directory), ROOT_DIRECTORY),
    ...planLock(facts, node),
    ...planKey(facts, node),
    ...distinct(unitActions),
    ...planReload(
      `unit:${WITNESS_UNITS.timer}`,
      unitActions,
      [facts.timer, facts.service].some((unit) => unit?.needsReload),
    ),
    ...planRunningUnit(WITNESS_UNITS.timer, facts.timer),
  ];
}

/** Never written anew: a second file of the same name would be a second lock. */
function planLock(facts: WitnessFacts, node: NodePart): CommonAction[] {
  const found = facts.entries.get(NODE_STATE.startLock);
  const ownership = { owner: "root", group: node.group, mode: "0640" };
  return planFile(NODE_STATE.startLock, found && { ...found, content: "" }, "", ownership);
}

function planKey(facts: WitnessFacts, node: NodePart): Action[] {
  const entry = (path: string) => facts.entries.get(path);
  // Other stages keep files there too, so their ownership is nobody's item.
  const directories = [dirname(LIGHTNINGD.gateDocument), dirname(WITNESS_KEY)].flatMap((path) =>
    entry(path) === undefined ? planDirectory(path, undefined, ROOT_DIRECTORY) : [],
  );
  const key = entry(WITNESS_KEY);
  const ownership = { owner: node.user, group: node.group, mode: "0400" };
  if (key === undefined)
    return [
      ...directories,
      {
        kind: "witness/make-key",
        item: `key:${WITNESS_KEY}`,
        summary: `make the SSH key ${WITNESS_KEY}, with which ${node.name} asks its witnesses`,
        path: WITNESS_KEY,
        user: node.user,
        group: node.group,
        comment: `twofold witness ${node.name}`,
      },
    ];
  // The content is a secret that only this host has; its ownership is all that can be put right.
  return [
    ...directories,
    ...planFile(WITNESS_KEY, { ...key, content: "" }, "", ownership).map((action) => ({
      ...action,
      item: `key:${WITNESS_KEY}` as const,
    })),
  ];
}

/** Two files in one directory need it once. */
function distinct(actions: CommonAction[]): CommonAction[] {
  const seen = new Set<string>();
  return actions.filter((action) => {
    const key = JSON.stringify(action);
    return !seen.has(key) && seen.add(key);
  });
}

function planWriter(facts: WitnessFacts, document: WitnessDocument, writer: Writer): Action[] {
  const entry = (path: string) => facts.entries.get(path);
  const { node, account } = writer;
  const marks = nodeDirectory(node, document.directory);
  const shared = sharedNumbers(facts, writer);
  // Names are read back by number, so an account that shares its number goes by the older name.
  const owner: Ownership = { owner: shared?.owner ?? account, group: shared?.group ?? account, mode: "0700" };
  const home = peerHome(node);
  const keys = authorizedKeys(node);
  const key = facts.keys.get(node);
  return [
    ...planAccount(facts, writer, home, shared),
    ...planDirectory(marks, entry(marks), owner),
    ...(entry(PEER_HOMES) === undefined ? planDirectory(PEER_HOMES, undefined, ROOT_DIRECTORY) : []),
    ...[home, dirname(keys)].flatMap((path) => planDirectory(path, entry(path), ROOT_DIRECTORY)),
    // Before the node's key has been brought here there is nothing to authorize.
    ...(key === undefined ? [] : planFile(keys, entry(keys), authorizedWitness(node, key), ROOT_FILE)),
  ];
}

function sharedNumbers(facts: WitnessFacts, { node, replica }: Writer) {
  if (replica === undefined) return undefined;
  const owner = facts.replicaOwners.get(node);
  if (owner === undefined || owner.uid === 0)
    throw new Refusal({
      code: "WITNESS-NO-REPLICA-DIRECTORY",
      what: `the directory of ${node}'s replica is not ready on this host`,
      received: owner === undefined ? `${dirname(replica)} is not there` : `${dirname(replica)} belongs to root`,
      why: "the account that reads the replica's versions takes its number from the directory's owner",
      fix: "apply the replica stage first: pulumi up does, in this order",
    });
  return owner;
}

function planAccount(
  facts: WitnessFacts,
  { account, node }: Writer,
  home: string,
  shared: { uid: number; gid: number } | undefined,
): Action[] {
  const found = facts.accounts.get(account);
  const item: ItemName = `user:${account}`;
  if (found === undefined) {
    const group: CommonAction[] = shared
      ? []
      : [{ kind: "create-group", item, summary: `make group ${account}`, name: account }];
    return [
      ...group,
      {
        kind: "witness/create-account",
        item,
        summary: `make account ${account}, for the witness of ${node} and nothing else`,
        name: account,
        home,
        ...(shared ? { numbers: { uid: shared.uid, gid: shared.gid } } : {}),
      },
    ];
  }
  if (shared && (found.uid !== shared.uid || found.gid !== shared.gid))
    throw new Refusal({
      code: "WITNESS-ACCOUNT",
      what: `account ${account} can't read the replica`,
      received: `numbers ${found.uid}:${found.gid}, the replica belongs to ${shared.uid}:${shared.gid}`,
      why: "its files would have to change hands together with its number",
      fix: `userdel ${account}, and run this again`,
    });
  if (found.home === home && found.shell === SHELL) return [];
  const summary = `give account ${account} its home ${home} and shell ${SHELL}, now ${found.home} and ${found.shell}`;
  return [{ kind: "witness/change-account", item, summary, name: account, home }];
}
