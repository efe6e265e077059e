"""Where the product under test is: a build directory, or the image itself inside the appliance's
VM.
"""

import os
import subprocess
import sys
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
# SLUICE_VM=1 is set by whoever runs tests inside a virtual machine booted from the image.
IN_VM = os.environ.get("SLUICE_VM") == "1"

# The Python programs and the modules they start from.
PYTHON_PROGRAMS = {
    "cmgrd": "sluice.cmgrd",
    "hitflagsd": "sluice.hitflags",
    "fpsd": "sluice.fpsd",
    "fp-cli": "sluice.cli.main",
    "fp-cpu-usage": "sluice.cli.cpu_usage",
    "fp-sync": "sluice.cmgrd.fp_sync",
}


def build_dir() -> Path:
    """The build directory: $SLUICE_BUILD, else build/dev."""
    return Path(os.environ.get("SLUICE_BUILD") or TOP / "build/dev").resolve()


def python_path() -> Path:
    """The folder that holds the package `sluice` and the module `_sluice`."""
    return build_dir() / "python"


def program(name: str) -> list[str]:
    """The command that starts a program of the product."""
    if IN_VM:
        for folder in ("/usr/sbin", "/usr/bin"):
            if (Path(folder) / name).exists():
                return [f"{folder}/{name}"]
        raise FileNotFoundError(f"the image has no {name}")
    if name in PYTHON_PROGRAMS:
        return [sys.executable, "-m", PYTHON_PROGRAMS[name]]
    found = build_dir() / "gate" / name
    if not found.exists():
        raise FileNotFoundError(f"{found} isn't built: run `ninja -C {build_dir()}`")
    return [str(found)]


def environment() -> dict[str, str]:
    """The environment for programs of the product."""
    env = dict(os.environ)
    env.pop("PYTHONPATH", None)
    if not IN_VM:
        env["PYTHONPATH"] = str(python_path())
    return env


def output(name: str, *options: str) -> str:
    """Run one of the product's tools to its end; what it printed."""
    argv = [*program(name), *options]
    return subprocess.run(
        argv, env=environment(), stdout=subprocess.PIPE, text=True, check=True, timeout=60
    ).stdout
