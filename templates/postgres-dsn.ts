/** How the node's host reaches members of the cluster. No password. */
import {
  CLUSTER_PORTS,
  type ClusterMember,
  type PostgresWalletDocument,
  TLS,
  tlsFiles,
} from "../scripts/host/contract.ts";

type Words = Record<string, string | number>;

/** Parameters of libpq (PostgreSQL's manual, "Parameter Key Words"). */
function parameters(application: string): Words {
  const { key, certificate } = tlsFiles("node");
  return {
    // Seconds for each member; libpq takes no less than 2.
    connect_timeout: 2,
    // A primary that is gone without a word is noticed in seconds; milliseconds for tcp_user_timeout.
    tcp_user_timeout: 10_000,
    keepalives_idle: 5,
    keepalives_interval: 2,
    keepalives_count: 3,
    sslmode: "verify-full",
    sslrootcert: TLS.ca,
    sslcert: certificate,
    sslkey: key,
    application_name: application,
  };
}

/** As key words for psql(1): one member, whatever it is at the moment, and as the gate's role. */
export function connectionWords({ role, gateRole }: PostgresWalletDocument, { address }: ClusterMember): string {
  const words: Words = {
    host: address,
    port: CLUSTER_PORTS.postgres,
    dbname: role,
    user: gateRole,
    ...parameters("twofold-gate"),
  };
  return Object.entries(words)
    .map(([name, value]) => `${name}=${value}`)
    .join(" ");
}

/**
 * lightningd's wallet option. It logs the whole of it when it can't connect, and there is no secret in it.
 * @param members those that libpq tries in turn: it takes the first that says it takes writes, whoever of them the primary is
 */
export function walletDsn({ role }: PostgresWalletDocument, members: readonly ClusterMember[]): string {
  const hosts = members.map(({ address }) => {
    const inUrl = address.includes(":") ? `[${address}]` : address;
    return `${inUrl}:${CLUSTER_PORTS.postgres}`;
  });
  const query = Object.entries({ target_session_attrs: "read-write", ...parameters("lightningd") })
    .map(([name, value]) => `${name}=${encodeURIComponent(value)}`)
    .join("&");
  return `postgres://${encodeURIComponent(role)}@${hosts.join(",")}/${encodeURIComponent(role)}?${query}`;
}
