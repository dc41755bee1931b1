/**
 * Cuts a byte stream into its top-level JSON objects, as lightningd's own reader does: requests need no separator between them,
 * answers have "\n\n".
 */
export class JsonFrames {
  #text = "";
  #scanned = 0;
  #depth = 0;
  #inString = false;
  #escaped = false;
  readonly #decoder = new TextDecoder();

  /** Returns the texts of the objects that are complete with this chunk. Throws SyntaxError where no object can begin. */
  push(chunk: Uint8Array): string[] {
    this.#text += this.#decoder.decode(chunk, { stream: true });
    const complete: string[] = [];
    let start = 0;
    for (; this.#scanned < this.#text.length; this.#scanned++) {
      const character = this.#text.charAt(this.#scanned);
      if (this.#inString) {
        if (this.#escaped) this.#escaped = false;
        else if (character === "\\") this.#escaped = true;
        else if (character === '"') this.#inString = false;
      } else if (character === '"' && this.#depth > 0) {
        this.#inString = true;
      } else if (character === "{" || (character === "[" && this.#depth > 0)) {
        if (this.#depth++ === 0) start = this.#scanned;
      } else if ((character === "}" || character === "]") && this.#depth > 0) {
        if (--this.#depth === 0) {
          complete.push(this.#text.slice(start, this.#scanned + 1));
          start = this.#scanned + 1;
        }
      } else if (this.#depth === 0 && !/\s/.test(character)) {
        throw new SyntaxError(`expected {} for a JSON-RPC message, received ${JSON.stringify(character)}`);
      }
    }
    this.#text = this.#text.slice(start);
    this.#scanned -= start;
    return complete;
  }
}
