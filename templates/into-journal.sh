#!/bin/sh
# into-journal NAME MOUNT COMMAND...: runs a maintenance command of a mounted volume, its output and result in the journal.
# See them with: journalctl -t twofold-NAME
set -u

tag=twofold-$1
mount=$2
shift 2

say() {
  printf '%s\n' "$2" | systemd-cat --identifier="$tag" --priority="$1"
}

# On the empty directory the command would work on the filesystem below, or on nothing.
if ! mountpoint --quiet "$mount"; then
  say err "$mount is not mounted: '$*' was not run"
  exit 1
fi

systemd-cat --identifier="$tag" --priority=info --stderr-priority=err -- "$@"
status=$?
if [ "$status" -eq 0 ]; then
  say info "$mount: ended well: $*"
else
  say err "$mount: ended with status $status: $*"
fi
exit "$status"
