/** What is to be done so that this host is a member of the PostgreSQL cluster. Pure. */
import { dirname } from "node:path";
import { renderAptHold } from "../../../templates/etcd.ts";
import { loadTemplate } from "../../../templates/load.ts";
import { dataDirectory, dynamicConfiguration, NODE_ROLE_SETTINGS, renderPatroni } from "../../../templates/patroni.ts";
import { type PostgresDocument, tlsFiles } from "../contract.ts";
import { canonicalJson } from "../json.ts";
import { requireClocks, requireNoRebuild } from "../member-checks.ts";
import { planMemberVolume, requireCluster, requirePlace } from "../member-data.ts";
import { planDirectory, planFile, planReload, ROOT_DIRECTORY } from "../planning.ts";
import { primaryLeaves } from "../retired/plan.ts";
import { type CommonAction, type ItemName, Refusal } from "../stage.ts";
import { planKeyOwnership, requireCertificate } from "../tls/check.ts";
import { requireBeginning } from "./beginning.ts";
import { POSTGRES, type PostgresFacts, packagesOf, postgresParents, type RoleFacts } from "./facts.ts";
import { takesPart } from "./patroni.ts";

interface Own {
  item: ItemName;
  summary: string;
  consequence?: true;
}

export type PostgresAction =
  /** Starts Patroni and waits until this member takes part. */
  | (Own & { kind: "postgres/start" })
  /** Lets Patroni read its file again, which reloads PostgreSQL too. */
  | (Own & { kind: "postgres/reload" })
  | (Own & { kind: "postgres/configure" })
  | (Own & { kind: "postgres/roles" })
  /** Takes these settings out of what ALTER SYSTEM has set here. */
  | (Own & { kind: "postgres/reset"; names: string[] });

type Action = CommonAction | PostgresAction;

const UNIT: ItemName = `unit:${POSTGRES.unit}`;
const ACCOUNT = "postgres";

const dynamicItem = ({ cluster }: PostgresDocument): ItemName => `patroni:${cluster}`;
const rolesItem = ({ node }: PostgresDocument): ItemName => `role:${node.role}`;

export function postgresItems(document: PostgresDocument): ItemName[] {
  return [
    `file:${POSTGRES.aptHold}`,
    `file:${POSTGRES.createCluster}`,
    `file:${POSTGRES.dropIn}`,
    ...packagesOf(document.version).map((name): ItemName => `package:${name}`),
    `key:${tlsFiles("postgres").key}`,
    ...(document.volume === undefined ? [] : ([`file:${POSTGRES.volumeDropIn}`] as const)),
    ...postgresParents(document).map((path): ItemName => `directory:${path}`),
    `file:${POSTGRES.config}`,
    UNIT,
    dynamicItem(document),
    rolesItem(document),
  ];
}

export function planPostgres(facts: PostgresFacts, document: PostgresDocument): Action[] {
  requireCertificate(document.identity, facts.certificateProblem);
  requirePlace(POSTGRES.unit, document, dataDirectory(document), facts.data);
  requireCluster("Patroni", POSTGRES.config, facts.scope, document);
  requireNoRebuild(POSTGRES.unit, facts.rebuilding);
  requireClocks(document.host, facts.clocks);
  requireBeginning(facts.beginning, document);
  refuseUnknownMembers(facts, document);
  refuseLeavingPrimary(facts, document);
  const entry = (path: string) => facts.entries.get(path);
  const directory = (path: string) => (entry(path) === undefined ? planDirectory(path, undefined, ROOT_DIRECTORY) : []);
  const packages = packagesOf(document.version);
  const dropIn = [
    ...planFile(POSTGRES.dropIn, entry(POSTGRES.dropIn), loadTemplate("patroni-unit.conf")),
    ...planMemberVolume(POSTGRES.volumeDropIn, entry(POSTGRES.volumeDropIn), document.volume),
  ];
  const config = planFile(POSTGRES.config, entry(POSTGRES.config), renderPatroni(document), {
    owner: "root",
    group: ACCOUNT,
    mode: "0640",
  });
  return [
    ...planFile(POSTGRES.aptHold, entry(POSTGRES.aptHold), renderAptHold(packages)),
    // Before the packages, which otherwise begin a cluster of their own on PostgreSQL's port.
    ...directory(dirname(POSTGRES.createCluster)),
    ...planFile(POSTGRES.createCluster, entry(POSTGRES.createCluster), loadTemplate("createcluster.conf")),
    ...directory(dirname(POSTGRES.dropIn)),
    ...dropIn,
    ...packages
      .filter((name) => !facts.installed.has(name))
      .map(
        (name): CommonAction => ({
          kind: "install-package",
          item: `package:${name}`,
          summary: `install package ${name}`,
          package: name,
        }),
      ),
    ...planKeyOwnership(tlsFiles("postgres").key, entry(tlsFiles("postgres").key), ACCOUNT),
    ...planParents(facts, document),
    // Patroni's unit starts only where this file is.
    ...directory(dirname(POSTGRES.config)),
    ...config,
    ...planReload(UNIT, dropIn, facts.unit?.needsReload === true),
    ...planRun(facts, document, config),
    ...planOverridden(facts),
    ...planShared(facts, document),
  ];
}

/** A member that the topology has lost sight of may be synchronous, or become the primary, on a host that nobody looks after. */
function refuseUnknownMembers({ members }: PostgresFacts, document: PostgresDocument): void {
  const declared = new Set([...document.members.map(({ host }) => host), ...document.others]);
  const unknown = (members ?? []).filter(({ name }) => !declared.has(name));
  if (unknown.length === 0) return;
  throw new Refusal({
    code: "PG-UNKNOWN-MEMBER",
    what: "the PostgreSQL cluster has a member that the topology does not",
    received: unknown.map(({ name, role, state }) => `${name} (${role}, ${state})`).join(", "),
    why: "it may be the one that every commit waits for, or become the primary, on a host that nobody looks after",
    fix: `declare its host again under twofold:hosts, without naming it in members and etcd: pulumi up then takes it out in order; if it is dead for good: ./twofold forget ${unknown[0]?.name}`,
  });
}

/**
 * Before any member's settings change: those of a primary that is to leave let no new member in, and without it the others would not
 * let it follow. The stage that takes it out comes last, and would say the same.
 */
function refuseLeavingPrimary({ members, beginning }: PostgresFacts, document: PostgresDocument): void {
  const seen = members ?? beginning?.members ?? [];
  const leader = seen.find(({ role }) => role === "leader");
  if (leader !== undefined && document.others.includes(leader.name)) throw primaryLeaves(leader.name, seen, document);
}

/** The last one is the account's, as on the root disk: Patroni makes the data directory in it, and puts a broken one aside. */
function planParents({ entries }: PostgresFacts, document: PostgresDocument): CommonAction[] {
  const parents = postgresParents(document);
  return parents.flatMap((path, index) =>
    planDirectory(
      path,
      entries.get(path),
      index === parents.length - 1 ? { owner: ACCOUNT, group: ACCOUNT, mode: "0755" } : ROOT_DIRECTORY,
    ),
  );
}

function planRun(
  { unit, members, otherCertificate }: PostgresFacts,
  document: PostgresDocument,
  config: CommonAction[],
): Action[] {
  const actions: Action[] = [];
  if (unit?.enabled !== "enabled")
    actions.push({
      kind: "enable-unit",
      item: UNIT,
      summary: `enable ${POSTGRES.unit}, now ${unit?.enabled || "not there"}`,
      unit: POSTGRES.unit,
    });
  const own = members?.find(({ name }) => name === document.host);
  // A Patroni that hangs, or whose member is on its way, has to read them too: to be started again does nothing to it.
  if (unit?.active === "active" && config.some((action) => action.kind === "write-file"))
    actions.push({
      kind: "postgres/reload",
      item: UNIT,
      summary: "let Patroni read its settings again",
      consequence: true,
    });
  else if (unit?.active === "active" && otherCertificate.length > 0)
    actions.push({
      kind: "postgres/reload",
      item: UNIT,
      summary: `let Patroni and PostgreSQL read their new certificate: port ${otherCertificate.join(" and ")} shows the one of before`,
    });
  if (unit?.active !== "active" || own === undefined || !takesPart(own))
    return [
      ...actions,
      {
        kind: "postgres/start",
        item: UNIT,
        summary: `start ${POSTGRES.unit} and wait until ${document.host} takes part, now ${own?.state ?? unit?.active ?? "not there"}`,
      },
    ];
  return actions;
}

/** ALTER SYSTEM goes before everything that Patroni writes, on the one member on which it was run. */
function planOverridden({ overridden }: PostgresFacts): PostgresAction[] {
  if (overridden.length === 0) return [];
  return [
    {
      kind: "postgres/reset",
      item: UNIT,
      summary: `take out what ALTER SYSTEM has set here: ${overridden.join(", ")}`,
      names: overridden.map((setting) => setting.split("=")[0] ?? ""),
    },
  ];
}

/** What the members share is put right by the primary alone; nothing of it is known elsewhere. */
function planShared({ dynamic, roles }: PostgresFacts, document: PostgresDocument): PostgresAction[] {
  const actions: PostgresAction[] = [];
  const isPaused = (dynamic as { pause?: unknown } | undefined)?.pause === true;
  if (dynamic !== undefined && (isPaused || !holds(dynamic, dynamicConfiguration(document))))
    actions.push({
      kind: "postgres/configure",
      item: dynamicItem(document),
      summary: `put the settings that all members share into etcd${isPaused ? ", and end the pause in which no member takes over from a dead primary (patronictl pause)" : ""}`,
    });
  const missing = roles === undefined ? [] : rolesMissing(roles, document);
  if (missing.length > 0)
    actions.push({
      kind: "postgres/roles",
      item: rolesItem(document),
      summary: `put roles and database right: ${missing.join("; ")}`,
    });
  return actions;
}

/** Whether `found` has all of `wanted`; what Patroni or an administrator has besides is theirs. */
export function holds(found: unknown, wanted: unknown): boolean {
  if (typeof wanted !== "object" || wanted === null) return canonicalJson(found) === canonicalJson(wanted);
  if (typeof found !== "object" || found === null) return false;
  return Object.entries(wanted).every(([key, value]) => holds((found as Record<string, unknown>)[key], value));
}

/** What is not as it should be, in words. */
export function rolesMissing(
  { roles, owner, public: open }: RoleFacts,
  { node }: Pick<PostgresDocument, "node">,
): string[] {
  const settings = (wanted: Record<string, string>) =>
    Object.entries(wanted)
      .map(([name, value]) => `${name}=${value}`)
      .sort();
  const differs = (name: string, wanted: string[], grants: string[], limit: number) => {
    const found = roles[name];
    if (found === undefined) return [`role ${name} is missing`];
    return [
      ...(found.login && !found.powers ? [] : [`role ${name} may do more or less than log in`]),
      ...(found.limit === limit ? [] : [`role ${name} may have ${found.limit} sessions`]),
      ...([...found.settings].sort().join() === wanted.join()
        ? []
        : [`role ${name} has settings ${found.settings.join(", ") || "none"}`]),
      ...(found.inDatabases.length === 0
        ? []
        : [`role ${name} has other settings in database ${found.inDatabases.join("; ")}`]),
      ...(found.grants.join() === grants.join()
        ? []
        : [`role ${name} is a member of ${found.grants.join(", ") || "no role"}`]),
    ];
  };
  return [
    ...differs(node.role, settings(NODE_ROLE_SETTINGS), [], 1),
    ...differs(
      node.gateRole,
      settings({ default_transaction_read_only: "on" }),
      ["pg_monitor", "pg_read_all_data"],
      -1,
    ),
    ...(owner === node.role ? [] : [`database ${node.role} ${owner === null ? "is missing" : `belongs to ${owner}`}`]),
    ...(open ? [`database ${node.role} lets every role connect`] : []),
  ];
}
