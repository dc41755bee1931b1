/** Looks up what a zod schema says of one place in a value: for error messages and the reference, which must not repeat the schema. */
import { z } from "zod";

type Schema = z.core.$ZodType;

/** The schema beneath defaults, optionals and pipes. */
export function unwrap(schema: Schema): Schema {
  if (
    schema instanceof z.ZodOptional ||
    schema instanceof z.ZodDefault ||
    schema instanceof z.ZodPrefault ||
    schema instanceof z.ZodNullable
  ) {
    return unwrap(schema.def.innerType);
  }
  if (schema instanceof z.ZodPipe) return unwrap(schema.def.in);
  return schema;
}

/** The nearest description on the way down through defaults and optionals. */
export function descriptionOf(schema: Schema): string | undefined {
  const own = schema instanceof z.ZodType ? schema.description : undefined;
  if (own !== undefined) return own;
  const inner = unwrap(schema);
  return inner !== schema && inner instanceof z.ZodType ? inner.description : undefined;
}

/** What the schema says of the place `path` in `input`, or of the nearest place above it that it says something of. */
export function describedAt(root: Schema, path: readonly PropertyKey[], input: unknown): string | undefined {
  for (let depth = path.length; depth > 0; depth--) {
    const schema = schemaAt(root, path.slice(0, depth), input);
    const description = schema && descriptionOf(schema);
    if (description !== undefined) return description;
  }
  return undefined;
}

/** Keys that may stand at the place `path`; of a union whose alternative can't be told, the first key of each. */
export function keysAt(root: Schema, path: readonly PropertyKey[], input: unknown): string[] {
  const found = schemaAt(root, path, input);
  if (found === undefined) return [];
  const schema = unwrap(found);
  if (schema instanceof z.ZodObject) return Object.keys(schema.shape);
  if (!(schema instanceof z.ZodUnion)) return [];
  const option = chooseOption(schema, valueAt(input, path));
  const options = option === undefined ? schema.options : [schema.options[option]];
  return options.flatMap((alternative) => {
    const object = alternative && unwrap(alternative);
    if (!(object instanceof z.ZodObject)) return [];
    const keys = Object.keys(object.shape);
    return option === undefined ? keys.slice(0, 1) : keys;
  });
}

/** Index of the alternative that was meant at the place `path`, if one can be told from the keys. */
export function optionFor(root: Schema, path: readonly PropertyKey[], input: unknown): number | undefined {
  const found = schemaAt(root, path, input);
  const schema = found && unwrap(found);
  return schema instanceof z.ZodUnion ? chooseOption(schema, valueAt(input, path)) : undefined;
}

function schemaAt(root: Schema, path: readonly PropertyKey[], input: unknown): Schema | undefined {
  let schema: Schema | undefined = root;
  let value = input;
  for (const key of path) {
    schema = schema && childOf(unwrap(schema), key, value);
    value = valueAt(value, [key]);
  }
  return schema;
}

function childOf(schema: Schema, key: PropertyKey, value: unknown): Schema | undefined {
  if (schema instanceof z.ZodObject) return schema.shape[String(key)];
  if (schema instanceof z.ZodRecord) return schema.def.valueType;
  if (schema instanceof z.ZodArray) return schema.def.element;
  if (!(schema instanceof z.ZodUnion)) return undefined;
  const option = chooseOption(schema, value);
  const chosen = option === undefined ? undefined : schema.options[option];
  return chosen && childOf(unwrap(chosen), key, value);
}

/** The alternative whose literal keys fit (`kind: sqlite`), else the one that shares the most keys with the value. */
function chooseOption(union: z.ZodUnion, value: unknown): number | undefined {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return undefined;
  const scores = union.options.map((option) => {
    const object = unwrap(option);
    if (!(object instanceof z.ZodObject)) return 0;
    const shape: Record<string, Schema> = object.shape;
    const fits = Object.entries(shape).every(([key, child]) => {
      const literal = unwrap(child);
      return !(literal instanceof z.ZodLiteral) || literal.values.has((value as Record<string, unknown>)[key] as never);
    });
    return fits ? Object.keys(value).filter((key) => key in shape).length : 0;
  });
  const best = Math.max(...scores);
  return best > 0 && scores.filter((score) => score === best).length === 1 ? scores.indexOf(best) : undefined;
}

/** What stands at the place `path` in `value`, if anything does. */
export function valueAt(value: unknown, path: readonly PropertyKey[]): unknown {
  return path.reduce<unknown>(
    (at, key) => (typeof at === "object" && at !== null ? (at as Record<PropertyKey, unknown>)[key] : undefined),
    value,
  );
}
