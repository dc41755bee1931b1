import { availableParallelism } from "node:os";

/** Files that take minutes, the longest first, so that none of them is begun when everything else has ended. */
const LONGEST = [
  "host/node.test.ts",
  "cluster/postgres.test.ts",
  "host/gate.test.ts",
  "host/alerts.test.ts",
  "cluster/two-copies.test.ts",
  "host/storage.test.ts",
  "cluster/recovery.test.ts",
  "host/stack-life.test.ts",
  "host/lightningd.test.ts",
  "host/lab.test.ts",
  "host/standin-conformance.test.ts",
  "host/bad-input.test.ts",
  "host/replica.test.ts",
  "host/engine.test.ts",
];

/** @param {string} file */
function place(file) {
  const found = LONGEST.findIndex((each) => file.endsWith(`/test/${each}`));
  return found === -1 ? LONGEST.length : found;
}

// Node strips the types itself, so ava needs no compiler.
export default {
  extensions: ["ts"],
  files: ["test/**/*.test.ts"],
  timeout: "30m",
  workerThreads: false,
  // Tests on hosts wait for a host a good part of their time: with as many files as cores a fifth of the machine was idle.
  concurrency: Math.ceil(availableParallelism() * 1.5),
  /** @param {string} left @param {string} right */
  sortTestFiles: (left, right) => place(left) - place(right) || left.localeCompare(right),
};
