/** Log lines in lightningd's form, to stdout or to the files of `log-file` ("-" is stdout). */
import { openSync, writeSync } from "node:fs";
import { Failure } from "./failure.ts";

const LEVELS = ["io", "debug", "info", "unusual", "broken"] as const;
export type LogLevel = (typeof LEVELS)[number];
const PREFIXES: Record<LogLevel, string> = {
  io: "IO     ",
  debug: "DEBUG  ",
  info: "INFO   ",
  unusual: "UNUSUAL",
  broken: "**BROKEN**",
};

export type Log = (level: LogLevel, message: string) => void;

export function openLog(options: { files: string[]; level: string; prefix: string; timestamps: boolean }): Log {
  const least = LEVELS.indexOf(options.level as LogLevel);
  if (least < 0) throw new Failure(`--log-level=${options.level}: unknown log level`);
  const targets = (options.files.length > 0 ? options.files : ["-"]).map((file) => {
    if (file === "-") return 1;
    try {
      return openSync(file, "a");
    } catch (error) {
      throw new Failure(`--log-file=${file}: Failed to open: ${(error as Error).message}`);
    }
  });
  return (level, message) => {
    if (LEVELS.indexOf(level) < least) return;
    const time = options.timestamps ? `${new Date().toISOString()} ` : "";
    const line = `${options.prefix}${time}${PREFIXES[level]} lightningd: ${message}\n`;
    for (const target of targets) {
      try {
        writeSync(target, line);
      } catch {
        // A log that can't be written stops nothing, as in lightningd.
      }
    }
  };
}
