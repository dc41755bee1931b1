/**
 * Files of this folder, as they land on a host. Under Node they are read from here; in the host program's bundle, which is one
 * file, esbuild puts a map of their texts in place of {@link readTemplate} (scripts/host/build.ts).
 */
import { readFileSync } from "node:fs";

function readTemplate(name: string): string {
  return readFileSync(new URL(name, import.meta.url), "utf8");
}

/** The text of a template that has no placeholders. */
export function loadTemplate(name: string): string {
  return fillTemplate(name, {});
}

/**
 * A template with each `{{word}}` replaced by its value.
 * @throws for a placeholder without a value and a value without a placeholder: both are mistakes of the caller
 */
export function fillTemplate(name: string, values: Readonly<Record<string, string | number>>): string {
  const unused = new Set(Object.keys(values));
  const text = readTemplate(name).replace(/\{\{(\w+)\}\}/g, (_, word: string) => {
    const value = Object.hasOwn(values, word) ? values[word] : undefined;
    if (value === undefined) throw new Error(`templates/${name} has {{${word}}}, for which there is no value`);
    unused.delete(word);
    return String(value);
  });
  if (unused.size > 0) throw new Error(`templates/${name} has no {{${[...unused].join("}} or {{")}}}`);
  return text;
}
