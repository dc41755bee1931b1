import type { ObjectShape, Shape } from "../inputs.ts";

export const labelsShape: Shape = {
  list: { object: { label: "string", value: "string" }, required: ["label", "value"] },
};

export const containerShape: ObjectShape = {
  object: {
    name: "string",
    image: "string",
    hostname: "string",
    command: { list: "string" },
    cgroupnsMode: { oneOf: ["private", "host"] },
    capabilities: { object: { adds: { list: "string" } }, required: [] },
    securityOpts: { list: "string" },
    dnsOpts: { list: "string" },
    tmpfs: { map: "string" },
    devices: {
      list: {
        object: { hostPath: "string", containerPath: "string", permissions: "string" },
        required: ["hostPath"],
      },
    },
    volumes: {
      list: {
        object: { hostPath: "string", containerPath: "string", readOnly: "boolean" },
        required: ["hostPath", "containerPath"],
      },
    },
    ports: {
      list: { object: { internal: "number", external: "number", ip: "string" }, required: ["internal"] },
    },
    networksAdvanced: {
      list: { object: { name: "string", aliases: { list: "string" } }, required: ["name"] },
    },
    labels: labelsShape,
    restart: { oneOf: ["no", "on-failure", "always", "unless-stopped"] },
    mustRun: "boolean",
    stopSignal: "string",
    destroyGraceSeconds: "number",
  },
  required: ["name", "image"],
};
