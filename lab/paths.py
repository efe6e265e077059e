"""Where things are.

Everything that outlives a command lies in `build/lab/<name>` of the checkout (disks, logs, keys),
everything that belongs to a running lab in `RUN/<name>` (sockets, state), which all
`image/tools/enter` of this machine share.
"""

import os
from pathlib import Path

TOP = Path(os.environ.get("SLUICE_TOP") or Path(__file__).parent.parent).resolve()
BUILD = TOP / "build"
IMAGE = Path(os.environ.get("SLUICE_IMAGE_DIR") or BUILD / "image")
# Short, because UNIX socket paths end at 108 characters and libvirt adds its own.
RUN = Path("/run/lab")
CACHE = Path(os.environ.get("SLUICE_CACHE") or Path.home() / ".cache/sluice") / "lab"
SSH_KEY = BUILD / "lab" / "ssh_key"


def work_dir(name: str) -> Path:
    """The lab's folder for disks and logs; made if it isn't there."""
    path = BUILD / "lab" / name
    path.mkdir(parents=True, exist_ok=True)
    return path


def run_dir(name: str) -> Path:
    return RUN / name
