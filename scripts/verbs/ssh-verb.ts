/** `./twofold ssh HOST [COMMAND…]`. */
import { loadStack } from "./load.ts";
import type { StackChoice } from "./locate.ts";
import { interactiveSsh } from "./ssh.ts";

export async function sshVerb(options: StackChoice & { host: string; words: string[] }): Promise<number> {
  const { choice, words } = takeChoice(options.words);
  const stack = loadStack({
    stack: options.stack ?? choice.stack,
    configFile: options.configFile ?? choice.configFile,
  });
  return interactiveSsh(stack.host(options.host), words);
}

/**
 * Everything after HOST belongs to the command, as with ssh(1), except `-s` and `--config-file` right after it:
 * no command starts with these, and every other verb takes them there. Pure.
 */
export function takeChoice(words: string[]): { choice: StackChoice; words: string[] } {
  const choice: StackChoice = {};
  const rest = [...words];
  for (;;) {
    const [, flag, attached] = /^(-s|--stack|--config-file)(?:=(.*))?$/.exec(rest[0] ?? "") ?? [];
    if (flag === undefined) {
      return { choice, words: rest[0] === "--" ? rest.slice(1) : rest };
    }
    rest.shift();
    choice[flag === "--config-file" ? "configFile" : "stack"] = attached ?? rest.shift();
  }
}
