import { StringDecoder } from "node:string_decoder";

/** Cuts a stream of bytes into lines. `end` hands on what came after the last newline, if anything did. */
export function lineSplitter(line: (text: string) => void): { write(chunk: Buffer): void; end(): void } {
  const decoder = new StringDecoder("utf8");
  let rest = "";
  return {
    write(chunk) {
      const parts = (rest + decoder.write(chunk)).split("\n");
      rest = parts.pop() ?? "";
      for (const part of parts) line(part.replace(/\r$/, ""));
    },
    end() {
      rest += decoder.end();
      if (rest !== "") line(rest);
      rest = "";
    },
  };
}
