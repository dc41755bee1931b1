import { distance } from "fastest-levenshtein";

/** The known word that was probably meant, or nothing if none is near: at most two letters off, or a third of the word. */
export function nearest(word: string, known: readonly string[]): string | undefined {
  const best = known
    .map((candidate) => ({ candidate, letters: distance(word.toLowerCase(), candidate.toLowerCase()) }))
    .sort((a, b) => a.letters - b.letters)[0];
  if (best === undefined) return undefined;
  return best.letters <= Math.max(2, Math.floor(word.length / 3)) ? best.candidate : undefined;
}
