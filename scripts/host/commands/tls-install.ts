import { type Command, expectArguments, printJson, requireRoot } from "../command.ts";
import { EXIT } from "../contract.ts";
import { ETCD } from "../etcd/facts.ts";
import { POSTGRES } from "../postgres/facts.ts";
import { must, run } from "../process.ts";
import { installInput, readInput } from "../tls/input.ts";
import { installCertificates } from "../tls/store.ts";

const isActive = async (unit: string) => (await run("systemctl", ["is-active", "--quiet", unit])).status === 0;

export const tlsInstall: Command = {
  usage: "tls-install [--renew|--new-authority] < CERTIFICATES",
  summary: "put the cluster's certificates of this host in place; without an option those that still serve stay",
  async run(args) {
    const newAuthority = args[0] === "--new-authority";
    const renew = newAuthority || args[0] === "--renew";
    expectArguments(tlsInstall, args, renew ? 1 : 0);
    requireRoot();
    const { identities, ...signed } = await readInput(installInput);
    const { written, authorityChanged } = await installCertificates(identities, signed, { renew, newAuthority });
    // lightningd and the gate read theirs at each connection, etcd too, but the authority of its clients at its start alone: there
    // is no majority until every host has the new one, and its stage waits for it. PostgreSQL and Patroni's REST API want to be told.
    if (authorityChanged && (await isActive(ETCD.unit))) await must("systemctl", ["restart", "--no-block", ETCD.unit]);
    if (written.includes("postgres") && (await isActive(POSTGRES.unit)))
      await must("systemctl", ["reload", POSTGRES.unit]);
    printJson({ written });
    return EXIT.ok;
  },
};
