import { isInside, isUrl, lightningDirectory, replicaOf } from "../places.ts";
import type { Rule } from "./rule.ts";
import { isReserved } from "./volumes.ts";

const pathCharacters: Rule = {
  code: "WALLET_PATH_CHARACTER",
  why: "lightningd splits wallet=sqlite3://MAIN:REPLICA at the first ':' and takes '~' as a letter, so it would write to other files than the ones that are checked",
  fix: "choose a path without ':' and '~'",
  check(topology) {
    const { node } = topology;
    const replica = replicaOf(topology);
    const paths = [
      { path: "twofold:node.volume.mount", value: node.volume.mount },
      { path: "twofold:node.directory", value: node.directory },
      { path: "twofold:node.wallet.replica.path", value: replica?.path },
    ];
    return paths.flatMap(({ path, value }) => {
      const character = value === undefined ? undefined : /[:~]/.exec(value)?.[0];
      return character === undefined
        ? []
        : [{ path, what: `'${character}' cannot stand in a path of the wallet`, received: value }];
    });
  },
};

const offVolume: Rule = {
  code: "NODE_DIRECTORY_OFF_VOLUME",
  why: "what lies beside the volume is on one disk, and the promise is about the volume",
  fix: "remove it (default: 'lightning' on the volume), or name a directory inside the volume's mount point",
  check: (topology) =>
    isInside(lightningDirectory(topology), topology.node.volume.mount)
      ? []
      : [
          {
            path: "twofold:node.directory",
            what: `it does not lie inside ${topology.node.volume.mount}`,
            received: topology.node.directory,
          },
        ],
};

const takeOverPlace: Rule = {
  code: "TAKEOVER_PLACE",
  why: "the directory is copied onto the volume and a symlink is left in its place; neither may lie in the other",
  fix: "name the lightning directory that is used today, e.g. /home/bitcoin/.lightning; if it is on the volume already, name it as 'directory' instead",
  check({ node: { takeOver, volume } }) {
    if (takeOver === undefined) return [];
    const overlap = takeOver === volume.mount || isInside(takeOver, volume.mount) || isInside(volume.mount, takeOver);
    return overlap
      ? [{ path: "twofold:node.takeOver", what: `it overlaps with the volume at ${volume.mount}`, received: takeOver }]
      : [];
  },
};

const takeOverReserved: Rule = {
  code: "TAKEOVER_RESERVED",
  why: "all of the directory is moved to the volume and given to the node's account, and the system or other programs need what is there",
  fix: "name the lightning directory that is used today, e.g. /home/bitcoin/.lightning",
  check: ({ node: { takeOver } }) =>
    takeOver !== undefined && isReserved(takeOver)
      ? [{ path: "twofold:node.takeOver", what: "it is no directory of the node's own", received: takeOver }]
      : [],
};

const takeOverNetwork: Rule = {
  code: "TAKEOVER_NETWORK_DIRECTORY",
  why: "lightningd keeps each network's files in a directory of its own beneath --lightning-dir, and the whole of it is taken over",
  fix: "name the directory above it",
  check: ({ node: { takeOver, network } }) =>
    takeOver?.endsWith(`/${network}`)
      ? [{ path: "twofold:node.takeOver", what: `it is the directory of the network ${network}`, received: takeOver }]
      : [],
};

const oneCopy: Rule = {
  code: "WALLET_ONE_COPY",
  why: "every acknowledged commit is to be durable in two places; with one disk and no replica it is in one, and a file copy or dump made now and then is older than the channels: the peer may take all of their money",
  fix: "give the volume a second device and the profile raid1, or the wallet a replica",
  check: ({ node: { wallet, volume } }) =>
    wallet.kind === "sqlite" && wallet.replica === undefined && volume.profile === "single"
      ? [{ path: "twofold:node.volume.profile", what: "the wallet has one copy on one disk", received: volume.profile }]
      : [],
};

const archiveScheme: Rule = {
  code: "LIGHTNINGD_ARCHIVE_URL",
  why: "the host fetches it with certificates checked; the checksum says what was fetched, https whom it was asked of",
  fix: "give an https URL, or the path of a file on this machine",
  check: ({ node: { lightningd } }) =>
    (
      [
        ["archive", "archive" in lightningd ? lightningd.archive : undefined],
        ["baseUrl", "release" in lightningd ? lightningd.baseUrl : undefined],
      ] as const
    ).flatMap(([key, value]) =>
      value !== undefined && isUrl(value) && !value.toLowerCase().startsWith("https://")
        ? [{ path: `twofold:node.lightningd.${key}`, what: "it is not an https URL", received: value }]
        : [],
    ),
};

export const WALLET_RULES: readonly Rule[] = [
  pathCharacters,
  offVolume,
  takeOverPlace,
  takeOverReserved,
  takeOverNetwork,
  oneCopy,
  archiveScheme,
];
