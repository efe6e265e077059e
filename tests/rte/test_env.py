# SPDX-License-Identifier: BSD-3-Clause
"""The installed default settings are those that settings.def describes."""

import subprocess
import sys

from tests.lib.product import TOP

GATE = TOP / "gate"


def test_the_default_settings_file_is_made_from_settings_def() -> None:
    made = subprocess.run(
        [sys.executable, GATE / "fastpath/env.py", GATE / "lib/settings.def"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    hint = "run gate/fastpath/env.py gate/lib/settings.def > gate/fast-path.env"
    assert (GATE / "fast-path.env").read_text() == made, hint


def test_all_of_it_is_a_comment() -> None:
    lines = (GATE / "fast-path.env").read_text().splitlines()
    assert all(not line or line.startswith("#") for line in lines)
    assert sum(line.endswith("=auto") for line in lines) >= 10
