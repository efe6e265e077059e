#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Run the tests of one or all levels, from cheap to real, and say what ran, what failed and what was left out.

Runs inside the tools tree, from the top of the checkout (`make test`). C unit tests and the
packet tests' harness run from the sanitizers' build. Results are kept as JUnit files in build/test.
"""

import argparse
import json
import os
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from dataclasses import dataclass, field
from pathlib import Path

LEVELS = ("unit", "packet", "golden", "functional", "vm")
TOP = Path(__file__).resolve().parent.parent
RESULTS = TOP / "build/test"


@dataclass
class Count:
    """How many tests ended how, and why some were skipped."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0
    reasons: list[str] = field(default_factory=list)

    def add(self, junit: Path) -> None:
        """Add the results of a JUnit file."""
        for case in ET.parse(junit).getroot().iter("testcase"):
            skip = case.find("skipped")
            if case.find("failure") is not None or case.find("error") is not None:
                self.failed += 1
            elif skip is not None:
                self.skipped += 1
                self.reasons.append(f"{case.get('name')}: {skip.get('message') or skip.text}")
            else:
                self.passed += 1


def progress(text: str) -> None:
    """Tell what a long step is doing."""
    print(f"[test] {text}", file=sys.stderr, flush=True)


def compile_asan() -> None:
    """Bring build/asan up to date."""
    subprocess.run(["image/tools/compile", "asan"], cwd=TOP, check=True)


def run_c_units(feature: str, count: Count) -> None:
    """Run the cmocka programs of build/asan."""
    compile_asan()
    listed = subprocess.run(
        ["meson", "introspect", "--tests", "build/asan"],
        cwd=TOP,
        check=True,
        stdout=subprocess.PIPE,
    )
    names = [
        test["name"]
        for test in json.loads(listed.stdout)
        if not feature or f"/tests/{feature}/" in str(test["cmd"][0])
    ]
    if not names:
        return
    junit = TOP / "build/asan/meson-logs/testlog.junit.xml"
    junit.unlink(missing_ok=True)
    done = subprocess.run(
        ["meson", "test", "-C", "build/asan", "--no-rebuild", "--print-errorlogs", *names], cwd=TOP
    )
    if junit.exists():
        count.add(junit)
    elif done.returncode:
        count.failed += 1


def pytest_command(level: str, feature: str, junit: Path) -> list[str]:
    """Return the pytest call for one level."""
    mark = "not (packet or golden or functional or vm)" if level == "unit" else level
    where = [f"tests/{feature}"] if feature else ["tests"]
    return ["python3", "-m", "pytest", "-q", "-m", mark, f"--junitxml={junit}", *where]


def run_pytest(level: str, feature: str, count: Count) -> None:
    """Run the Python tests of one level; on the VM level inside the appliance."""
    if feature and not (TOP / "tests" / feature).is_dir():
        sys.exit(f"error: there's no tests/{feature}\nhint: make where lists a feature's files")
    junit = RESULTS / f"{level}.xml"
    junit.unlink(missing_ok=True)
    command = pytest_command(level, feature, junit)
    env = dict(
        os.environ, PYTHONPATH=f"{TOP}/build/dev/python:{TOP}", SLUICE_BUILD=f"{TOP}/build/dev"
    )
    if level == "packet":
        compile_asan()
        env["SLUICE_HARNESS_BUILD"] = f"{TOP}/build/asan"
    if level == "vm":
        # The results' folder is the only one of the checkout that the machine writes to.
        command = ["python3", "-m", "lab", "vm", "--out", "build/test", "--", *command]
    done = subprocess.run(command, cwd=TOP, env=env)
    if junit.exists():
        count.add(junit)
    elif done.returncode != 5:  # pytest: nothing selected
        progress(f"{level}: pytest ended with status {done.returncode} and left no result")
        count.failed += 1


def main() -> int:
    """Run what the options select; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--level", default="all", choices=("all", *LEVELS))
    parser.add_argument("--feature", default="", help="only the tests in tests/FEATURE")
    parser.add_argument(
        "--vm", default="1", help="0: leave out the tests that need the appliance VM"
    )
    args = parser.parse_args()
    RESULTS.mkdir(parents=True, exist_ok=True)

    total = Count()
    for level in LEVELS if args.level == "all" else (args.level,):
        if level == "vm" and args.vm == "0":
            progress("vm: left out because of VM=0: what this machine's kernel lacks isn't tested")
            continue
        count = Count()
        start = time.monotonic()
        progress(f"{level} tests")
        if level == "unit":
            run_c_units(args.feature, count)
        run_pytest(level, args.feature, count)
        for reason in count.reasons:
            progress(f"skipped {reason}")
        progress(
            f"{level}: {count.passed} passed, {count.failed} failed, {count.skipped} skipped"
            f" in {time.monotonic() - start:.0f} s"
        )
        total.passed += count.passed
        total.failed += count.failed
        total.skipped += count.skipped
    print(f"{total.passed} passed, {total.failed} failed, {total.skipped} skipped")
    if total.passed + total.failed == 0:
        print("error: no test was selected", file=sys.stderr)
        return 1
    return 1 if total.failed else 0


if __name__ == "__main__":
    sys.exit(main())
