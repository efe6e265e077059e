# SPDX-License-Identifier: BSD-3-Clause
"""The manual page that errors point to names every setting."""

import re
import subprocess
import sys
from pathlib import Path

LIB = Path(__file__).resolve().parents[2] / "gate/lib"


def test_the_manual_page_names_every_setting(tmp_path: Path) -> None:
    page = tmp_path / "fast-path.env.5"
    subprocess.run([sys.executable, LIB / "man.py", LIB / "settings.def", page], check=True)
    keys = re.findall(r'"(FP_\w+)"', (LIB / "settings.def").read_text())
    assert keys
    assert re.findall(r"^\.B (FP_\w+)$", page.read_text(), re.MULTILINE) == keys
