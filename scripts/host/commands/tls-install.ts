import { type Command, expectArguments, printJson, requireRoot } from "../command.ts";
import { EXIT } from "../contract.ts";
import { POSTGRES } from "../postgres/facts.ts";
import { must, run } from "../process.ts";
import { installInput, readInput } from "../tls/input.ts";
import { installCertificates } from "../tls/store.ts";

export const tlsInstall: Command = {
  usage: "tls-install [--renew] < CERTIFICATES",
  summary: "put the cluster's certificates of this host in place; without --renew those that still serve stay",
  async run(args) {
    const renew = args[0] === "--renew";
    expectArguments(tlsInstall, args, renew ? 1 : 0);
    requireRoot();
    const { identities, ...signed } = await readInput(installInput);
    const written = await installCertificates(identities, signed, { renew });
    // etcd, lightningd and the gate read theirs at each connection; PostgreSQL and Patroni's REST API when they are told to.
    if (written.includes("postgres") && (await run("systemctl", ["is-active", "--quiet", POSTGRES.unit])).status === 0)
      await must("systemctl", ["reload", POSTGRES.unit]);
    printJson({ written });
    return EXIT.ok;
  },
};
