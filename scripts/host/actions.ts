/** Carries out the actions that every stage may plan. Each can be repeated: an interrupted run is finished by doing it again. */
import { installPackages } from "./apt.ts";
import { makeDirectory, makeSymlink, removeFile, setOwnership, writeFileDurably } from "./files.ts";
import { must } from "./process.ts";
import type { ApplyContext, CommonAction, OwnAction } from "./stage.ts";

/** What is done in one go: packages that follow one another are one installation. */
export type Step<A extends OwnAction> =
  | { kind: "packages"; actions: Extract<CommonAction, { kind: "install-package" }>[] }
  | { kind: "common"; action: Exclude<CommonAction, { kind: "install-package" }> }
  | { kind: "own"; action: A };

const isOwn = <A extends OwnAction>(action: CommonAction | A): action is A => action.kind.includes("/");

/** Pure. Puts actions into steps, in their order. */
export function toSteps<A extends OwnAction>(actions: readonly (CommonAction | A)[]): Step<A>[] {
  const steps: Step<A>[] = [];
  for (const action of actions) {
    if (isOwn(action)) {
      steps.push({ kind: "own", action });
      continue;
    }
    if (action.kind !== "install-package") {
      steps.push({ kind: "common", action });
      continue;
    }
    const last = steps.at(-1);
    if (last?.kind === "packages") last.actions.push(action);
    else steps.push({ kind: "packages", actions: [action] });
  }
  return steps;
}

/** Carries out a step of common actions. */
export async function applyStep(step: Exclude<Step<never>, { kind: "own" }>, context: ApplyContext): Promise<void> {
  if (step.kind === "packages") {
    await installPackages(
      step.actions.map((action) => action.package),
      context,
    );
    return;
  }
  const { action } = step;
  switch (action.kind) {
    case "write-file":
      return writeFileDurably(action.path, action.content, action.ownership);
    case "make-directory":
      return makeDirectory(action.path, action.ownership);
    case "set-ownership":
      return setOwnership(action.path, action.ownership);
    case "make-symlink":
      return makeSymlink(action.path, action.target);
    case "remove-file":
      return removeFile(action.path);
    case "create-group":
      await must("groupadd", [
        "--system",
        ...(action.gid === undefined ? [] : ["--gid", `${action.gid}`]),
        action.name,
      ]);
      return;
    case "create-user":
      await must("useradd", [
        ...["--system", "--gid", action.name, "--home-dir", action.home, "--no-create-home"],
        ...(action.uid === undefined ? [] : ["--uid", `${action.uid}`]),
        ...["--shell", action.shell, action.name],
      ]);
      return;
    case "daemon-reload":
      await must("systemctl", ["daemon-reload"]);
      return;
    case "enable-unit":
      await must("systemctl", ["enable", "--quiet", action.unit]);
      return;
    case "start-unit":
      await must("systemctl", ["start", action.unit]);
      return;
    case "stop-unit":
      await must("systemctl", ["stop", action.unit]);
      return;
    case "restart-unit":
      await must("systemctl", ["restart", action.unit]);
      return;
  }
}
