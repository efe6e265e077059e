"""For all tests: where the product is, markers, and what's kept of a failed test.

Evidence of a failure (pcaps, counters, tables, logs) is kept in build/test/<test name>/; that of a
test that passes is removed. Tests marked `vm` need what only the appliance's own kernel has;
elsewhere they are deselected, and pytest's last line counts them.
"""

import os
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parent.parent
for folder in (TOP, Path(os.environ.get("SLUICE_BUILD") or TOP / "build/dev").resolve() / "python"):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))

# Two runs at once need two of them.
EVIDENCE = Path(os.environ.get("SLUICE_EVIDENCE") or TOP / "build/test").resolve()
FAILED = pytest.StashKey[bool]()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if os.environ.get("SLUICE_VM") == "1":
        return
    outside = [item for item in items if item.get_closest_marker("vm")]
    if outside:
        config.hook.pytest_deselected(items=outside)
        items[:] = [item for item in items if not item.get_closest_marker("vm")]


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    outcome = yield
    report = outcome.get_result()  # type: ignore[attr-defined]
    item.stash[FAILED] = item.stash.get(FAILED, False) or report.failed


@pytest.fixture
def evidence(request: pytest.FixtureRequest) -> Iterator[Path]:
    """The test's folder; what's in it stays only if the test fails."""
    name = re.sub(r"[^\w-]+", "-", f"{request.node.path.stem}-{request.node.name}").strip("-")
    folder = EVIDENCE / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    yield folder
    if not request.node.stash.get(FAILED, False):
        shutil.rmtree(folder, ignore_errors=True)
