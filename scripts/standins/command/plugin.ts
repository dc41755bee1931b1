import { serve } from "../serve.ts";
import { command } from "./command.ts";
import { stopDialling } from "./connection.ts";
import { copyToRemote } from "./copy-to-remote.ts";

await serve(
  {
    plugin: "command",
    version: "1.2.1",
    resources: { "command:remote:Command": command, "command:remote:CopyToRemote": copyToRemote },
    cancel: stopDialling,
  },
  process.argv.slice(2),
);
