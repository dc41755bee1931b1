#!/bin/sh
# Makes a host ready for twofold's host program: the distribution's Node and the launcher. Nothing else, and nothing twice.
# Run as root: sh -s -- MACHINE < this script. MACHINE names the machine, so that a rebuilt one is bootstrapped again.
set -eu

directory=/usr/local/lib/twofold
node_major=18
umask 022

refuse() {
  printf '%s\n' "$@" >&2
  exit 3
}

user=$(id -u)
[ "$user" = 0 ] || refuse \
  "bootstrap: this needs root" \
  "  received: uid $user" \
  "  why: packages, mounts and units belong to root" \
  "  to do: set 'user: root' for this host in the stack's config, with a key that root accepts"

distribution=unknown
# shellcheck source=/dev/null
[ ! -r /etc/os-release ] || distribution=$(. /etc/os-release && printf '%s %s' "${ID-unknown}" "${VERSION_ID-}")
case $distribution in
'debian 13') ;;
'debian 12' | 'ubuntu 24.04') echo "bootstrap: $distribution is accepted; Debian 13 is what twofold is tested on" ;;
*) refuse \
  "bootstrap: this distribution is not supported" \
  "  received: $distribution (/etc/os-release)" \
  "  why: packages, paths and versions differ; what was not tested does not guard money" \
  "  to do: use Debian 13 (or Debian 12, Ubuntu 24.04)" ;;
esac

init=$(cat /proc/1/comm)
[ "$init" = systemd ] || refuse \
  "bootstrap: systemd does not run this host" \
  "  received: process 1 is '$init'" \
  "  why: mounts, the start gate and restarts are systemd units" \
  "  to do: boot the host with systemd"

apt() {
  DEBIAN_FRONTEND=noninteractive apt-get --quiet --quiet -o DPkg::Lock::Timeout=300 \
    -o Acquire::http::Timeout=20 -o Acquire::https::Timeout=20 -o Acquire::Retries=2 "$@"
}

install_node() {
  apt install --yes --no-install-recommends nodejs >/dev/null 2>&1
}

if [ ! -x /usr/bin/node ]; then
  echo "bootstrap: installing the distribution's nodejs"
  if ! install_node; then
    # Old or no package lists, or an installation that was interrupted.
    apt -o APT::Update::Error-Mode=any update || refuse \
      "bootstrap: the package mirror could not be used" \
      "  received: apt-get update failed, as said above" \
      "  why: the host program runs on the distribution's Node; nothing was installed" \
      "  to do: check the host's network, name resolution and /etc/apt/sources.list.d, then run this again"
    dpkg --configure --pending
    apt install --yes --no-install-recommends nodejs
  fi
fi

version=$(/usr/bin/node --version)
major=${version#v}
[ "${major%%.*}" -ge "$node_major" ] || refuse \
  "bootstrap: the distribution's Node is too old" \
  "  received: /usr/bin/node $version" \
  "  why: the host program needs Node $node_major or later" \
  "  to do: install the distribution's own, current nodejs package"

if [ "$(stat -c '%u %g %a' "$directory" 2>/dev/null)" != '0 0 755' ]; then
  echo "bootstrap: making $directory"
  mkdir -p "$directory"
  chown root:root "$directory"
  chmod 0755 "$directory"
fi

launcher=$directory/run
new=$(mktemp /run/twofold-launcher.XXXXXX)
trap 'rm -f "$new"' EXIT
cat >"$new" <<'END-OF-LAUNCHER'
{{launcher}}
END-OF-LAUNCHER
if [ "$(stat -c '%u %g %a' "$launcher" 2>/dev/null)" != '0 0 755' ] || ! cmp --silent "$new" "$launcher"; then
  echo "bootstrap: installing $launcher"
  install -m 0755 "$new" "$launcher.new"
  sync "$launcher.new"
  mv "$launcher.new" "$launcher"
  sync "$directory"
fi
echo "bootstrap: ready, Node $version on $distribution"
