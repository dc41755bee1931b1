/** `./twofold survival`: what the declared node survives. Asks no host. */
import { renderTable, survivalTable } from "../../components/topology/survival.ts";
import { EXIT } from "../host/contract.ts";
import { loadStack } from "./load.ts";
import type { StackChoice } from "./locate.ts";

export async function survival(options: StackChoice & { json?: true }): Promise<number> {
  const stack = loadStack(options);
  const table = survivalTable(stack.topology);
  process.stdout.write(
    options.json
      ? `${JSON.stringify({ stack: stack.name, digest: table.digest, cells: table.cells })}\n`
      : `${await renderTable(table)}\n`,
  );
  return EXIT.ok;
}
