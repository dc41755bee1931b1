"""What twofold declares of a host, item by item, as pyinfra would have it (pyinfra 3). check.bench.ts writes the items."""

import json
import os

from pyinfra import host
from pyinfra.facts.server import Command
from pyinfra.operations import apt, files, server, systemd

with open(os.environ["TWOFOLD_BENCH_ITEMS"], encoding="utf-8") as source:
    items = json.load(source)

# pyinfra asks for all packages at once, so one operation for all of them is its fastest way.
apt.packages(packages=[item["what"] for item in items if item["kind"] == "package"])


def owned(item):
    return {"user": item["owner"], "group": item["group"], "mode": item["mode"]}


for item in items:
    kind, what = item["kind"], item["what"]
    if kind == "package":
        continue
    elif kind == "group":
        server.group(group=what, system=True)
    elif kind == "user":
        server.user(user=what, group=item["group"], home=item["home"], shell=item["shell"], system=True)
    elif kind == "directory":
        files.directory(path=what, **owned(item))
    elif kind == "file":
        files.put(src=item["content"], dest=what, **owned(item))
    elif kind == "key":
        files.file(path=what, **owned(item))
    elif kind == "symlink":
        files.link(path=what, target=item["target"])
    elif kind == "fstab":
        files.line(path="/etc/fstab", line=item["line"])
    elif kind == "mount":
        server.mount(path=what, options=["autodefrag"])
    elif kind == "unit":
        systemd.service(service=what, running=True, enabled=True)
    # pyinfra knows nothing of these, so it asks as cheaply as it can.
    elif kind == "volume":
        host.get_fact(Command, "btrfs filesystem usage --raw " + item["mount"])
    elif kind == "program":
        host.get_fact(Command, "find " + what + " -type f -exec sha256sum {} +")
    elif kind == "journal-mode":
        host.get_fact(Command, "od --address-radix=n --skip-bytes=18 --read-bytes=2 --format=u1 " + what)
    elif kind == "clock":
        host.get_fact(Command, "timedatectl show --property=NTPSynchronized")
    else:
        raise ValueError("no pyinfra operation for an item of the kind " + kind)
