import { serve } from "../serve.ts";
import { container } from "./container.ts";
import { network } from "./network.ts";

await serve(
  {
    plugin: "docker",
    version: "5.0.0",
    resources: { "docker:index/container:Container": container, "docker:index/network:Network": network },
  },
  process.argv.slice(2),
);
