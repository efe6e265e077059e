"""A virtual machine to run tests in: this machine's tools and checkout, the appliance's kernel.

Both come over 9p, read-only, with a RAM disk on top, so the command can write anywhere and nothing
stays; only the `out` folder of the checkout is the real one. In the guest the command sees what
`image/tools/enter` shows: the tree as root, the checkout at its own path.
"""

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from lab import paths
from lab.domain import Export
from lab.errors import LabError
from lab.progress import progress
from lab.vm import VmLab

TOPOLOGY = "seat"
# Large messages, because each costs a turn through the emulator.
MOUNT_OPTIONS = "trans=virtio,version=9p2000.L,msize=512000"
# Runs in the guest, as `sh -c ENTER name TOP OUT`, with the command's script on standard input.
ENTER = r"""
set -e
top=$1 out=$2 base=/run/seat root=/run/seat/root
overlay() {
	local ram=$base/ram/$1
	mount -t overlay -o lowerdir=$base/$1,upperdir=$ram,workdir=$ram.work seat "$2"
}
if [ ! -e $base/ready ]; then
	modprobe 9pnet_virtio
	mkdir -p $base/tree $base/top
	# The content doesn't change while the machine runs, so the guest may cache it all.
	mount -t 9p -o ro,cache=loose,@OPTIONS@ tree $base/tree
	mount -t 9p -o ro,cache=loose,@OPTIONS@ top $base/top
	mkdir -p $base/ram && mount -t tmpfs -o size=1G seat $base/ram
	for name in tree top; do
		mkdir -p $base/ram/$name $base/ram/$name.work
	done
	mkdir -p $root
	overlay tree $root
	# Before the checkout, which may be below it.
	mount -t tmpfs seat $root/tmp
	mkdir -p "$root$top"
	overlay top "$root$top"
	mkdir -p "$root$out"
	mount -t 9p -o rw,cache=none,@OPTIONS@ out "$root$out"
	mkdir -p /run/netns /run/sluice-tools
	for dir in /dev /proc /sys; do
		mount --rbind $dir $root$dir
	done
	mount --bind /lib/modules $root/lib/modules
	mount --bind /run/sluice-tools $root/run
	# The tests are for the image's own programs, and need the ports and huge pages that these hold.
	systemctl stop sluice.target fpsd.service hitflagsd.service cmgrd.service fp-rte.service fpmd.service
	for path in /usr/sbin/fp-rte /usr/sbin/fpmd /usr/bin/cmgrd /usr/bin/hitflagsd /usr/bin/fpsd /usr/bin/fp-cli \
		/usr/bin/fp-cpu-usage /usr/bin/fp-sync /usr/bin/fp-stats \
		/usr/lib/sluice /usr/lib/python3/dist-packages/sluice /usr/lib/python3/dist-packages/_sluice*; do
		[ ! -e "$path" ] || cp -a "$path" "$root${path%/*}/"
	done
	mkdir -p $root/run/netns $root/.host
	touch $base/ready
fi
cat >$root/tmp/seat.command
exec unshare --mount --propagation private sh -ec '
	cd "$1"
	pivot_root . .host
	umount -l /.host
	exec bash /tmp/seat.command' seat $root
""".lstrip().replace("@OPTIONS@", MOUNT_OPTIONS)


def run_in_vm(argv: Sequence[str], *, out: str, env: Sequence[str]) -> int:
    """Boot the seat, run the command in it, and return its exit status."""
    tree = os.environ.get("SLUICE_TREE")
    if not tree:
        raise LabError(
            "SLUICE_TREE isn't set", hint="run inside the tools tree (image/tools/enter)"
        )
    out_dir = (paths.TOP / out).resolve()
    if not out_dir.is_relative_to(paths.TOP) or out_dir == paths.TOP:
        raise LabError(f"--out {out} is not a folder inside the checkout")
    out_dir.mkdir(parents=True, exist_ok=True)
    exports = (
        Export(tag="tree", source=Path("/")),
        Export(tag="top", source=paths.TOP),
        Export(tag="out", source=out_dir, readonly=False),
    )
    with VmLab(TOPOLOGY, direct_kernel=True, exports=exports) as lab:
        script = command_script(argv, env)
        words = lab.ssh.argv(["sh", "-c", ENTER, "seat", str(paths.TOP), str(out_dir)])
        progress(f"in the virtual machine: {shlex.join(argv)}")
        status = stream(words, script)
        if status != 0:
            lab.appliance.collect(out_dir)
    return status


def command_script(argv: Sequence[str], env: Sequence[str]) -> str:
    """What bash runs as root of the tree: environment, folder, command."""
    names = ["PYTHONPATH", "SLUICE_BUILD", "PYTEST_ADDOPTS", *env]
    handed = {name: os.environ[name] for name in names if name in os.environ}
    handed |= {
        "SLUICE_TOP": str(paths.TOP),
        "SLUICE_TREE": "/",
        "SLUICE_VM": "1",
        "PATH": "/opt/venv/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": "/root",
        "LANG": "C.UTF-8",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    lines = [f"export {name}={shlex.quote(value)}" for name, value in handed.items()]
    lines += [f"cd {shlex.quote(str(Path.cwd()))}", f"exec {shlex.join(argv)}"]
    return "\n".join(lines) + "\n"


def stream(words: Sequence[str], script: str) -> int:
    """Run it with our output; ^C ends it."""
    process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=sys.stdout, stderr=sys.stderr)
    try:
        process.communicate(script.encode())
    except KeyboardInterrupt:
        process.send_signal(signal.SIGTERM)
        process.wait()
        raise
    if process.returncode == 255:
        raise LabError("the connection to the virtual machine broke", hint="see build/lab/seat")
    return process.returncode
