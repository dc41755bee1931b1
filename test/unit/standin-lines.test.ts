import test from "ava";
import fc from "fast-check";
import { lineSplitter } from "../../scripts/standins/command/lines.ts";

function linesOf(chunks: Buffer[]): string[] {
  const lines: string[] = [];
  const splitter = lineSplitter((line) => lines.push(line));
  for (const chunk of chunks) splitter.write(chunk);
  splitter.end();
  return lines;
}

test("a line comes out whole, wherever its bytes were cut", (t) => {
  const text = fc.array(
    fc.string({ unit: "grapheme" }).map((line) => line.replaceAll(/[\r\n]/g, "")),
    { minLength: 1 },
  );
  fc.assert(
    fc.property(text, fc.infiniteStream(fc.integer({ min: 1, max: 5 })), (lines, sizes) => {
      const bytes = Buffer.from(lines.map((line) => `${line}\n`).join(""));
      const chunks: Buffer[] = [];
      for (let start = 0; start < bytes.length; ) {
        const size = sizes.next().value ?? 1;
        chunks.push(bytes.subarray(start, start + size));
        start += size;
      }
      t.deepEqual(linesOf(chunks), lines);
    }),
  );
});

test("a last line without a newline is handed on, and nothing after a last newline", (t) => {
  t.deepEqual(linesOf([Buffer.from("a\r\nb")]), ["a", "b"]);
  t.deepEqual(linesOf([Buffer.from("a\n")]), ["a"]);
  t.deepEqual(linesOf([Buffer.from("x".repeat(100_000))]), ["x".repeat(100_000)], "longer than 64 KiB");
});
