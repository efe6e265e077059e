"""Does KVM work here? Only trying tells: some have a /dev/kvm that can't boot an ordinary kernel.

The try boots the appliance's own kernel without any file system: under a KVM that works it gets as
far as not finding its root within a second or two. The verdict is kept per kernel, QEMU and boot of
this machine.
"""

import hashlib
import json
import os
import subprocess
from pathlib import Path

from lab import paths
from lab.proc import run
from lab.progress import progress

QEMU = "qemu-system-x86_64"
TRY_SECONDS = 15
# Printed by the kernel when it has started everything and looks for its root file system.
MARK = b"VFS: Unable to mount root fs"


def acceleration(kernel: Path) -> str:
    """`kvm` or `qemu` (emulation): libvirt's domain type that boots this kernel here.

    SLUICE_ACCEL=kvm|qemu decides instead of the try.
    """
    forced = os.environ.get("SLUICE_ACCEL", "")
    if forced in ("kvm", "qemu"):
        return forced
    if not Path("/dev/kvm").exists():
        return "qemu"
    key = json.dumps(identity(kernel))
    store = paths.CACHE / "kvm.json"
    try:
        verdicts = json.loads(store.read_text())
    except (OSError, ValueError):
        verdicts = {}
    if key not in verdicts:
        works = kvm_boots(kernel)
        progress(f"KVM {'works' if works else 'is there but does not boot a guest: emulating'}")
        store.parent.mkdir(parents=True, exist_ok=True)
        store.write_text(json.dumps({key: "kvm" if works else "qemu"}))
        verdicts = {key: "kvm" if works else "qemu"}
    return str(verdicts[key])


def identity(kernel: Path) -> list[str]:
    """What a verdict holds for."""
    return [
        hashlib.sha256(kernel.read_bytes()).hexdigest(),
        run([QEMU, "--version"]).stdout.splitlines()[0],
        Path("/proc/sys/kernel/random/boot_id").read_text().strip(),
    ]


def kvm_boots(kernel: Path) -> bool:
    argv = [QEMU, "-accel", "kvm", "-cpu", "host", "-machine", "q35", "-m", "256"]
    argv += ["-nodefaults", "-display", "none", "-serial", "stdio", "-no-reboot"]
    argv += ["-kernel", str(kernel), "-append", "console=ttyS0 panic=-1"]
    try:
        said = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=TRY_SECONDS,
            check=False,
        ).stdout
    except subprocess.TimeoutExpired as late:
        said = late.stdout or b""
    return MARK in said
