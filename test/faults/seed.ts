/** Choices that a seed repeats. The faults, their order and their delays come from it; what the kernel does meanwhile does not. */
import { randomBytes } from "node:crypto";

/** $TWOFOLD_SEED, or a new one. To be printed. */
export function chooseSeed(): string {
  return process.env.TWOFOLD_SEED || randomBytes(4).toString("hex");
}

export class Random {
  #state: number;

  constructor(seed: string) {
    // FNV-1a, so that seeds that look alike lead apart.
    this.#state = [...seed].reduce((hash, letter) => Math.imul(hash ^ letter.charCodeAt(0), 0x01000193), 0x811c9dc5);
  }

  /** At least 0, below 1 (mulberry32). */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  }

  /** A whole number from `low` to `high`, both included. */
  between(low: number, high: number): number {
    return low + Math.floor(this.next() * (high - low + 1));
  }

  shuffled<T>(values: readonly T[]): T[] {
    return values
      .map((value) => ({ value, order: this.next() }))
      .sort((a, b) => a.order - b.order)
      .map(({ value }) => value);
  }
}
