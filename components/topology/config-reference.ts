/** The reference of the config as a Markdown table, made from the schema. */
import { z } from "zod";
import { NAMESPACE } from "./parse.ts";
import { topologySchema } from "./schema.ts";
import { descriptionOf, unwrap } from "./schema-walk.ts";

interface Row {
  key: string;
  type: string;
  standard: string;
  description: string;
}

export function configReference(): string {
  const rows = Object.entries(topologySchema.shape).flatMap(([key, schema]) => rowsOf(NAMESPACE + key, schema));
  return [
    "| key | value | default | what |",
    "| --- | --- | --- | --- |",
    ...rows.map(({ key, type, standard, description }) => `| \`${key}\` | ${type} | ${standard} | ${description} |`),
  ]
    .map((line) => line.trimEnd())
    .join("\n");
}

/** One row a key, and beneath it the rows of what it holds. */
function rowsOf(key: string, schema: z.core.$ZodType, required = "**required**"): Row[] {
  const inner = unwrap(schema);
  const own: Row = {
    key,
    type: escapeCell(typeOf(inner)),
    standard: escapeCell(standardOf(schema) ?? required),
    description: escapeCell(descriptionOf(schema) ?? ""),
  };
  return [own, ...childrenOf(key, inner)];
}

function childrenOf(key: string, schema: z.core.$ZodType, required?: string): Row[] {
  if (schema instanceof z.ZodObject) {
    return Object.entries(schema.shape as Record<string, z.core.$ZodType>).flatMap(([name, child]) =>
      rowsOf(`${key}.${name}`, child, required),
    );
  }
  if (schema instanceof z.ZodRecord) return childrenOf(`${key}.NAME`, unwrap(schema.def.valueType));
  if (schema instanceof z.ZodArray) return childrenOf(`${key}[]`, unwrap(schema.def.element));
  // Each alternative has its own keys; a key that all of them have (kind) stands once for each.
  if (schema instanceof z.ZodUnion) {
    return schema.options.flatMap((option) => childrenOf(key, unwrap(option), "required in this form"));
  }
  return [];
}

function typeOf(schema: z.core.$ZodType): string {
  if (schema instanceof z.ZodObject) return "mapping";
  if (schema instanceof z.ZodRecord) return "mapping of names";
  if (schema instanceof z.ZodArray) return `list of ${typeOf(unwrap(schema.def.element))}`;
  if (schema instanceof z.ZodEnum) return schema.options.map((option) => `\`${option}\``).join(", ");
  if (schema instanceof z.ZodLiteral) return [...schema.values].map((value) => `\`${String(value)}\``).join(", ");
  if (schema instanceof z.ZodBoolean) return "true or false";
  if (schema instanceof z.ZodNumber) return "number";
  if (schema instanceof z.ZodString) return "text";
  if (schema instanceof z.ZodUnion) {
    return [...new Set(schema.options.map((option) => typeOf(unwrap(option))))].join(" or ");
  }
  return "text";
}

/** What holds where the key is left out, or nothing where it must not be. */
function standardOf(schema: z.core.$ZodType): string | undefined {
  if (schema instanceof z.ZodDefault) return `\`${JSON.stringify(schema.def.defaultValue)}\``;
  if (schema instanceof z.ZodOptional || schema instanceof z.ZodPrefault) return "";
  return undefined;
}

function escapeCell(text: string): string {
  return text.replaceAll("|", "\\|");
}
