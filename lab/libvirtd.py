"""A libvirtd of the lab's own, in the rack namespace.

Running it ourselves needs no systemd and no D-Bus, gives the same libvirt and QEMU on every machine
(the tools tree's), and leaves the machine's own libvirt, if any, alone. Its folders under /etc,
/var and /run are bind mounts of the lab's run directory, so that several labs can run side by side.
"""

import importlib
from pathlib import Path
from typing import Any

from lab import paths
from lab.errors import LabError
from lab.netns import in_namespace, namespace
from lab.proc import spawn, wait_for

# No type stubs exist for it.
libvirt: Any = importlib.import_module("libvirt")

QEMU_CONF = """\
user = "root"
group = "root"
security_driver = "none"
cgroup_controllers = []
namespaces = []
stdio_handler = "file"
remember_owner = 0
"""
LIBVIRTD_CONF = """\
auth_unix_ro = "none"
auth_unix_rw = "none"
"""
START = """\
set -e
mount --make-rprivate /
mkdir -p /etc/libvirt /var/lib/libvirt /run/libvirt /var/log/libvirt /var/cache/libvirt
mount --bind "$1/etc" /etc/libvirt
mount --bind "$1/lib" /var/lib/libvirt
mount --bind "$1/run" /run/libvirt
mount --bind "$2" /var/log/libvirt
mount --bind "$3" /var/cache/libvirt
exec libvirtd --config /etc/libvirt/libvirtd.conf --pid-file /run/libvirt/libvirtd.pid
"""


def start(lab: str, *, logs: Path) -> Any:
    """Start the lab's libvirtd and connect to it; its and QEMU's logs go to that folder."""
    # libvirt reports errors as exceptions and prints them on stderr too.
    libvirt.registerErrorHandler(lambda *_: None, None)
    base = paths.run_dir(lab) / "libvirt"
    logs.mkdir(parents=True, exist_ok=True)
    log = logs / "libvirtd.log"
    log.unlink(missing_ok=True)
    for name in ("etc/qemu", "lib/qemu", "run"):
        (base / name).mkdir(parents=True, exist_ok=True)
    (base / "etc/qemu.conf").write_text(QEMU_CONF)
    (base / "etc/libvirtd.conf").write_text(LIBVIRTD_CONF)
    # What QEMU can do takes libvirt seconds to find out, and is the same for all labs.
    cache = paths.CACHE / "libvirt"
    cache.mkdir(parents=True, exist_ok=True)
    command = ["unshare", "--mount", "bash", "-c", START, "libvirtd", base, logs, cache]
    words = [str(word) for word in command]
    daemon = spawn(in_namespace(namespace(lab), words), log=log)

    def connected() -> Any:
        if daemon.poll() is not None:
            last = (log.read_text().splitlines() or ["it said nothing"])[-1]
            raise LabError(f"libvirtd ended: {last}", hint=f"see {log}")
        return connect(lab)

    return wait_for(connected, "connection to libvirtd", timeout=60, hint=f"see {log}")


def connect(lab: str) -> Any:
    """A connection to the lab's running libvirtd, or None."""
    path = paths.run_dir(lab) / "libvirt/run/libvirt-sock"
    if not path.exists():
        return None
    try:
        return libvirt.open(f"qemu+unix:///system?socket={path}")
    except libvirt.libvirtError:
        return None
