/** Renders the files of the postgres stage. */
import { isIP } from "node:net";
import { CLUSTER_PORTS, type ClusterMember, type PostgresDocument, TLS, tlsFiles } from "../scripts/host/contract.ts";
import { fillTemplate } from "./load.ts";

export const binDirectory = (version: number) => `/usr/lib/postgresql/${version}/bin`;
/** As Debian lays out its clusters; on the host's volume, if it has one. */
export const dataDirectory = ({ version, cluster, volume }: Pick<PostgresDocument, "version" | "cluster" | "volume">) =>
  `${volume ?? "/var/lib"}/postgresql/${version}/${cluster}`;

/** "host:port", an IPv6 address in brackets. */
const at = (address: string, port: number) => `${isIP(address) === 6 ? `[${address}]` : address}:${port}`;

/** What all members share, as Patroni keeps it in etcd (Patroni's documentation, "Dynamic Configuration Settings"). */
export function dynamicConfiguration(document: Pick<PostgresDocument, "synchronousStandbys" | "members">) {
  const { key, certificate } = tlsFiles("postgres");
  return {
    // 20 is the least that Patroni takes (it clamps lower ones), and loop_wait + 2 * retry_timeout must not exceed it.
    ttl: 20,
    // Once a second each member looks at itself: what ended is started again, or reported, after half a second on average.
    loop_wait: 1,
    retry_timeout: 5,
    maximum_lag_on_failover: 16_777_216,
    synchronous_mode: true,
    // Without a standby that has flushed it, no commit is acknowledged: writes wait.
    synchronous_mode_strict: true,
    synchronous_node_count: document.synchronousStandbys,
    primary_start_timeout: 15,
    postgresql: {
      use_pg_rewind: true,
      use_slots: true,
      parameters: {
        fsync: "on",
        full_page_writes: "on",
        synchronous_commit: "on",
        wal_log_hints: "on",
        wal_level: "replica",
        hot_standby: "on",
        max_connections: 50,
        max_wal_senders: 10,
        max_replication_slots: 10,
        // A standby that is away for long must not fill the primary's disk; beyond this it is made anew.
        wal_keep_size: "512MB",
        max_slot_wal_keep_size: "2GB",
        // A standby that is to be promoted, or that waits for the primary to recover, sleeps this long between two tries to reach it.
        wal_retrieve_retry_interval: "200ms",
        // Before a recovery all of the data is flushed once: as one filesystem, not as thousands of files one after the other.
        recovery_init_sync_method: "syncfs",
        // A peer that is gone is noticed in seconds, on both ends.
        wal_sender_timeout: "5s",
        wal_receiver_timeout: "5s",
        tcp_keepalives_idle: 5,
        tcp_keepalives_interval: 2,
        tcp_keepalives_count: 3,
        tcp_user_timeout: 10_000,
        ssl: "on",
        ssl_ca_file: TLS.ca,
        ssl_cert_file: certificate,
        ssl_key_file: key,
        ssl_min_protocol_version: "TLSv1.3",
        logging_collector: "off",
        log_line_prefix: "%m [%p] %q%u@%d ",
      },
    },
  };
}

/** Which certificate's holder may be which role (pg_ident.conf(5)'s form). */
function identLines({ members, node }: PostgresDocument): string[] {
  return [
    ...members.flatMap(({ host }) => [`members "${host}" replicator`, `members "${host}" rewinder`]),
    `node "${node.commonName}" "${node.role}"`,
    `node "${node.commonName}" "${node.gateRole}"`,
  ];
}

export function renderPatroni(document: PostgresDocument): string {
  const { cluster, host, members, etcd, node } = document;
  const own = members.find((member) => member.host === host);
  if (own === undefined) throw new Error(`${host} is no PostgreSQL member in its own document`);
  const any = members.some(({ address }) => isIP(address) === 6) ? "[::]" : "0.0.0.0";
  const list = (hosts: ClusterMember[], port: number) => JSON.stringify(hosts.map(({ address }) => at(address, port)));
  return fillTemplate("patroni-config", {
    // YAML takes JSON as it is; without quotes a host may be called "on", "null" or "12", and Patroni would read no name.
    scope: JSON.stringify(cluster),
    cluster,
    name: JSON.stringify(host),
    dcs: JSON.stringify(dynamicConfiguration(document)),
    ident: JSON.stringify(identLines(document)),
    etcd: list(etcd, CLUSTER_PORTS.etcdClient),
    listenPatroni: `"${any}:${CLUSTER_PORTS.patroni}"`,
    connectPatroni: `"${at(own.address, CLUSTER_PORTS.patroni)}"`,
    listenPostgres: `"*:${CLUSTER_PORTS.postgres}"`,
    connectPostgres: `"${at(own.address, CLUSTER_PORTS.postgres)}"`,
    dataDirectory: dataDirectory(document),
    binDirectory: binDirectory(document.version),
    ca: TLS.ca,
    ...tlsFiles("postgres"),
    role: JSON.stringify(node.role),
    gateRole: JSON.stringify(node.gateRole),
  });
}

/**
 * Settings of the node's role. lightningd's transactions wait for their standby without a limit: a wait that is cancelled reports
 * a commit that is in one place only.
 */
export const NODE_ROLE_SETTINGS = {
  synchronous_commit: "on",
  statement_timeout: "0",
  lock_timeout: "0",
  transaction_timeout: "0",
  idle_in_transaction_session_timeout: "0",
  idle_session_timeout: "0",
} as const;

/** A script for psql(1) with the variables role and gate. */
export function renderRoles(): string {
  return fillTemplate("postgres-roles.sql", {
    settings: Object.entries(NODE_ROLE_SETTINGS)
      .map(([name, value]) => `ALTER ROLE :"role" SET ${name} = '${value}';`)
      .join("\n"),
  });
}
