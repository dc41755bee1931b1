#!/bin/sh
# ExecStart= of lightningd.service: lock, gate, then lightningd in this very process, so that nothing comes between check and start.
set -eu

# lightningd inherits the descriptor, so the lock lasts from before the check to the end of its run.
exec 9</var/lib/twofold/node/start.lock
if ! flock --nonblock 9; then
	echo "start-lightningd: another start, or a restore, is at work on this node (it holds /var/lib/twofold/node/start.lock); trying again" >&2
	exit 75
fi

# The gate prints the config to start with and further arguments, a line each; its exit status, if it says no, is this program's.
answer=$(/usr/bin/node /usr/local/lib/twofold/current gate --start)
set --
while IFS= read -r line; do set -- "$@" "$line"; done <<END
$answer
END
config=$1
shift
# By its own path and not by the link: lightningd executes its own argv[0] again when it finds its subdaemons to be of another
# version, and through the link an upgrade would start the new one without passing the gate.
programs=$(readlink -f /opt/twofold/bin)
exec "$programs/lightningd" --conf="$config" "$@"
