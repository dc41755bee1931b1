import { nearest } from "../nearest.ts";
import { peerAddress } from "../places.ts";
import type { Topology } from "../schema.ts";
import type { Rule } from "./rule.ts";

/** Every place of the topology that names a host. */
function references({ node }: Topology): { path: string; host: string }[] {
  const list = (path: string, names: readonly string[]) =>
    names.map((host, index) => ({ path: `${path}[${index}]`, host }));
  const { wallet } = node;
  return [
    { path: "twofold:node.host", host: node.host },
    ...(wallet.kind === "sqlite" && wallet.replica?.host !== undefined
      ? [{ path: "twofold:node.wallet.replica.host", host: wallet.replica.host }]
      : []),
    ...(wallet.kind === "postgres"
      ? [...list("twofold:node.wallet.members", wallet.members), ...list("twofold:node.wallet.etcd", wallet.etcd)]
      : []),
    ...list("twofold:node.witness", node.witness ?? []),
    ...node.copies.flatMap((copy, index) =>
      copy.kind !== "hsm-secret" && copy.to !== undefined
        ? [{ path: `twofold:node.copies[${index}].to`, host: copy.to }]
        : [],
    ),
  ];
}

const unknownHost: Rule = {
  code: "HOST_UNKNOWN",
  why: "only declared hosts are reached, with the host key that was pinned for them",
  fix: "declare the host under twofold:hosts, or name one that is declared",
  check(topology) {
    const known = Object.keys(topology.hosts);
    return references(topology)
      .filter(({ host }) => !known.includes(host))
      .map(({ path, host }) => {
        const meant = nearest(host, known);
        return {
          path,
          what: "this host is not declared",
          received: host,
          ...(meant === undefined
            ? {}
            : { fix: `write ${meant} if that was meant, or declare it under twofold:hosts` }),
        };
      });
  },
};

const sameMachine: Rule = {
  code: "HOST_SAME_MACHINE",
  why: "two names for one machine make two copies that die together look like two places; a cloned image that kept its host key looks the same, and lets either machine pose as the other",
  fix: "declare each machine once; on a cloned one make new host keys: rm /etc/ssh/ssh_host_*; ssh-keygen -A",
  check({ hosts }) {
    const entries = Object.entries(hosts);
    return entries.flatMap(([name, spec], index) => {
      const twin = entries
        .slice(0, index)
        .find(
          ([, other]) =>
            other.hostKey === spec.hostKey ||
            (other.address.toLowerCase() === spec.address.toLowerCase() && other.port === spec.port),
        );
      if (twin === undefined) return [];
      const [twinName, twinSpec] = twin;
      return twinSpec.hostKey === spec.hostKey
        ? [{ path: `twofold:hosts.${name}.hostKey`, what: `${twinName} has the same host key`, received: spec.hostKey }]
        : [
            {
              path: `twofold:hosts.${name}.address`,
              what: `${twinName} has the same address and port`,
              received: `${spec.address}:${spec.port}`,
            },
          ];
    });
  },
};

const unreachableByPeers: Rule = {
  code: "HOST_PEER_ADDRESS",
  why: "the node's host reaches the others by itself, for replica, marks and the question before a first start; a loopback address leads back to itself",
  fix: "give peerAddress (and peerPort), the address at which the node's host reaches this one",
  check(topology) {
    const { hosts, node } = topology;
    return Object.keys(hosts)
      .filter((name) => name !== node.host)
      .map((name) => ({ name, address: peerAddress(topology, name) }))
      .filter(({ address }) => /^(localhost|127\.[\d.]+|::1)$/i.test(address))
      .map(({ name, address }) => ({
        path: `twofold:hosts.${name}.peerAddress`,
        what: `${node.host} would reach itself at this address`,
        received: address,
      }));
  },
};

export const HOST_RULES: readonly Rule[] = [unknownHost, sameMachine, unreachableByPeers];
