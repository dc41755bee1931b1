#!/bin/sh
# twofold's launcher: run SHA256|current COMMAND ARGUMENTS...
# Runs the host program only if it is root's own and exactly the one that was asked for.
set -eu

directory=/usr/local/lib/twofold

refuse() {
  printf '%s\n' "$@" >&2
  exit 4
}

sha256=${1-}
# What is run to delete a resource: the version that Pulumi's state would name may have been removed by later ones.
if [ "$sha256" = current ]; then
  sha256=$(readlink "$directory/current") || refuse \
    "no host program is in use on this host" \
    "  received: no symlink $directory/current" \
    "  why: it says which version units and cron run" \
    "  to do: run 'pulumi up', which puts it in place"
  sha256=${sha256#host-}
  sha256=${sha256%.mjs}
fi
case $sha256 in
*[!0-9a-f]* | '') refuse "usage: run SHA256|current COMMAND ARGUMENTS..." "  received: '$sha256' instead of 64 hexadecimal digits" ;;
esac
shift

program=$directory/host-$sha256.mjs
[ -f "$program" ] || refuse \
  "the host program is missing on this host, or is another version" \
  "  received: $sha256, no such file as $program" \
  "  why: the operator's twofold and the host's must be the same" \
  "  to do: run 'pulumi up' from this version of twofold"

owner=$(stat -c '%u %a' "$directory") || exit 4
[ "$owner" = '0 755' ] || refuse \
  "$directory may be changed by others than root" \
  "  received: owner and mode '$owner' instead of '0 755'" \
  "  why: whoever can change the host program is root on this host" \
  "  to do: find out who changed it; then chown root $directory && chmod 0755 $directory"

# CopyToRemote leaves the file with the umask of the login.
owner=$(stat -c '%u' "$program")
[ "$owner" = 0 ] || refuse \
  "$program does not belong to root" \
  "  received: uid $owner" \
  "  why: whoever can change the host program is root on this host" \
  "  to do: find out who put it there, remove it, and run 'pulumi up'"

printf '%s  %s\n' "$sha256" "$program" | sha256sum --check --status || refuse \
  "$program is not what its name says" \
  "  received: $(sha256sum "$program" | cut -d ' ' -f 1)" \
  "  why: it was damaged or changed since it was copied" \
  "  to do: remove it, and run 'pulumi up', which copies it again (pulumi up --replace URN of the copy if it does not)"

exec /usr/bin/node "$program" "$@"
