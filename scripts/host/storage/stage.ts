import type { StorageDocument } from "../contract.ts";
import type { Stage } from "../stage.ts";
import { applyStorage } from "./apply.ts";
import { readStorageFacts, type StorageFacts } from "./facts.ts";
import { planStorage, type StorageAction, storageItems } from "./plan.ts";

export const storage: Stage<StorageDocument, StorageFacts, StorageAction> = {
  items: storageItems,
  readFacts: readStorageFacts,
  plan: planStorage,
  apply: applyStorage,
};
