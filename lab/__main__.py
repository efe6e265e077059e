"""`python3 -m lab` runs in the tools tree; started outside, it goes there first."""

import os
import sys
from pathlib import Path

# Nothing else of the lab may be imported before this: the host's Python may be too old for it.
if sys.prefix != "/opt/venv":
    enter = Path(__file__).resolve().parent.parent / "image/tools/enter"
    os.execv(enter, [str(enter), "python3", "-m", "lab", *sys.argv[1:]])

from lab.cli import main

sys.exit(main())
