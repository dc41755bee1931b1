// Node strips the types itself, so ava needs no compiler.
export default {
  extensions: ["ts"],
  files: ["test/**/*.test.ts"],
  timeout: "30m",
  workerThreads: false,
};
