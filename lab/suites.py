"""`make lab-test`: the Robot Framework suites, one lab after the other, and what came out."""

import importlib
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lab import paths, state
from lab.errors import LabError
from lab.progress import progress

SUITES = paths.TOP / "robot"
RESULTS = paths.BUILD / "robot"
SMOKE = "smoke"


@dataclass
class Count:
    passed: int = 0
    failed: int = 0
    skipped: int = 0
    skips: list[str] = field(default_factory=list)


def available() -> list[str]:
    return sorted(path.stem for path in SUITES.glob("*.robot"))


def run_suites(name: str) -> int:
    """Run suites by name, `all` or `smoke`; returns the exit status."""
    words = command(name)
    kept = state.kept_labs()
    if kept:
        raise LabError(
            f"the lab {kept[0].name} is still up", hint=f"end it with: {state.ENTER} stop"
        )
    with state.claimed("suites"):
        shutil.rmtree(RESULTS, ignore_errors=True)
        RESULTS.mkdir(parents=True)
        robot = subprocess.Popen(words, cwd=paths.TOP)
        # ^C reaches it too, and it needs its time to take the lab down.
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            status = robot.wait()
        except KeyboardInterrupt:  # asked to end (SIGTERM)
            robot.send_signal(signal.SIGINT)
            status = robot.wait()
        signal.signal(signal.SIGINT, before)
        output = RESULTS / "output.xml"
        # Robot's own statuses: up to 249 failed tests; then help, bad data, interrupted, crashed.
        if not output.exists() or status in (251, 252, 255):
            raise LabError(f"robot ended with status {status} and left no results")
        count = read_results(output)
    for skip in count.skips:
        progress(f"skipped: {skip}")
    progress(f"results: {RESULTS}/log.html, junit.xml")
    print(f"{count.passed} passed, {count.failed} failed, {count.skipped} skipped", flush=True)
    return 0 if count.failed == 0 and count.passed > 0 and status == 0 else 1


def command(name: str) -> list[str]:
    """The call of Robot Framework."""
    words = [sys.executable, "-m", "robot", "--outputdir", str(RESULTS), "--xunit", "junit.xml"]
    words += ["--pythonpath", str(paths.TOP)]
    words += ["--name", "Sluice", "--consolewidth", "100", "--suitestatlevel", "2"]
    if name == SMOKE:
        words += ["--include", SMOKE]
    if name in ("all", SMOKE):
        return [*words, *(str(SUITES / f"{suite}.robot") for suite in available())]
    if name not in available():
        raise LabError(
            f"no suite named {name}", hint=f"there are: smoke, all, {', '.join(available())}"
        )
    return [*words, str(SUITES / f"{name}.robot")]


def read_results(output: Path) -> Count:
    # Robot Framework's own result model; it has no types for mypy.
    api: Any = importlib.import_module("robot.api")
    count = Count()
    for test in api.ExecutionResult(str(output)).suite.all_tests:
        if test.passed:
            count.passed += 1
        elif test.skipped:
            count.skipped += 1
            count.skips.append(f"{test.parent.name}: {test.name}: {test.message}")
        else:
            count.failed += 1
    return count
