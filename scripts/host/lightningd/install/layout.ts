/** Where the programs of an installation lie. */
import { dirname } from "node:path";
import type { LightningdInstall } from "../../contract.ts";

/** Unpacked installations, one directory each, and the symlink to the one in use. */
export const INSTALLATIONS = "/opt/twofold";
/** How the name of an installation's directory begins. */
export const TREE_PREFIX = "lightningd-";

/** The unpacked tree, named by its content (archive) or its signed version (release). */
export function treeOf(install: Exclude<LightningdInstall, { kind: "preinstalled" }>): string {
  return install.kind === "archive"
    ? `${INSTALLATIONS}/${TREE_PREFIX}${install.sha256.slice(0, 12)}`
    : `${INSTALLATIONS}/${TREE_PREFIX}${install.version}`;
}

/** The directory that holds lightningd, lightning-cli and lightning-hsmtool. */
export function programsOf(install: LightningdInstall): string {
  return install.kind === "preinstalled" ? dirname(install.path) : `${treeOf(install)}/usr/bin`;
}
