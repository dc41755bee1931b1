import { setTimeout as delay } from "node:timers/promises";
import type { BaseDocument } from "../contract.ts";
import { must } from "../process.ts";
import type { Stage } from "../stage.ts";
import { type BaseFacts, readBaseFacts } from "./facts.ts";
import { type AwaitClock, baseItems, planBase } from "./plan.ts";
import { removeOldPrograms } from "./programs.ts";

/** systemd-timesyncd asks its servers within seconds; a host without a way to any of them is told so after this time. */
const CLOCK_DEADLINE_MS = 60_000;

export const base: Stage<BaseDocument, BaseFacts, AwaitClock> = {
  items: baseItems,
  readFacts: readBaseFacts,
  plan: planBase,
  tidy: removeOldPrograms,
  async apply() {
    const deadline = Date.now() + CLOCK_DEADLINE_MS;
    for (;;) {
      const shown = await must("timedatectl", ["show", "--property=NTPSynchronized", "--value"]);
      if (shown.trim() === "yes") return;
      if (Date.now() > deadline) {
        throw new Error(
          `the clock is still not synchronised after ${CLOCK_DEADLINE_MS / 1000} s\n` +
            "  why: lightningd's timeouts and TLS need a right clock\n" +
            "  to do: see 'timedatectl timesync-status'; let the host reach an NTP server, then run this again",
        );
      }
      await delay(500);
    }
  },
};
