import { type Command, printJson, requireRoot } from "../command.ts";
import { EXIT } from "../contract.ts";
import { failover, reinit, restart, switchover } from "../postgres/change.ts";
import { Refusal } from "../stage.ts";

const say = (line: string) => console.error(line);

const CHANGES = { switchover, failover, reinit, restart } as const;

export const postgres: Command = {
  usage: "postgres switchover|failover|reinit|restart [MEMBER|--all]",
  summary:
    "change who is primary, make a standby anew, or restart members, through this host's Patroni; waits until it is done",
  async run(args) {
    requireRoot();
    const [change = "", member, ...rest] = args;
    if (!Object.hasOwn(CHANGES, change) || rest.length > 0)
      throw new Refusal({
        code: "HOST-ARGUMENTS",
        what: "there is no such change of the cluster",
        received: args.join(" ") || "nothing",
        why: "nothing can be done",
        fix: `run ${postgres.usage}`,
      });
    printJson(await CHANGES[change as keyof typeof CHANGES](member, say));
    return EXIT.ok;
  },
};
