import { type Command, printJson, readStdin, requireRoot } from "../command.ts";
import { EXIT } from "../contract.ts";
import { beginStore, firstKeys, look, type Parts, startMember, stopMembers, writeFirstKeys } from "../etcd/rebuild.ts";
import { parseDocumentsText } from "../schema.ts";
import { Refusal } from "../stage.ts";

const context = { progress: (line: string) => console.error(line) };

/** Each answers with one line of JSON; `words` are those after its name. */
const STEPS: Record<string, (parts: Parts, words: string[]) => Promise<unknown>> = {
  look,
  stop: (parts) => stopMembers(parts, context),
  async begin({ etcd }) {
    if (etcd !== undefined) await beginStore(etcd, context);
    return {};
  },
  // The document of PostgreSQL is the newest member's.
  async name({ postgres }, [systemIdentifier = ""]) {
    if (postgres !== undefined) await writeFirstKeys(firstKeys(postgres.host, systemIdentifier, postgres));
    return {};
  },
  async start(parts) {
    await startMember(parts, context);
    return {};
  },
};

export const etcdRebuild: Command = {
  usage: "etcd-rebuild look|stop|begin|name SYSTEM|start < DOCUMENTS",
  summary: "one step of ./twofold etcd rebuild, which does them in order on all hosts",
  async run([step = "", ...words]) {
    requireRoot();
    const act = Object.hasOwn(STEPS, step) ? STEPS[step] : undefined;
    if (act === undefined)
      throw new Refusal({
        code: "HOST-ARGUMENTS",
        what: "there is no such step",
        received: step || "nothing",
        why: "nothing can be done",
        fix: `run ${etcdRebuild.usage}`,
      });
    const parts: Parts = { etcd: undefined, postgres: undefined };
    for (const document of parseDocumentsText(await readStdin())) {
      if (document.stage === "etcd") parts.etcd = document;
      if (document.stage === "postgres") parts.postgres = document;
    }
    printJson(await act(parts, words));
    return EXIT.ok;
  },
};
