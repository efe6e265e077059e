"""Fixtures of the models' tests; each folder's conftest.py takes them."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mgmt.machine import Machine


@pytest.fixture
def machine() -> Iterator[Machine]:
    """A machine with yamsd in it. Not in pytest's folder: others than root read what's in it, and sshd trusts no keys
    below a folder that all may write to.
    """
    work = Path(tempfile.mkdtemp(prefix="machine-", dir="/run"))
    work.chmod(0o755)
    made = Machine(work)
    try:
        made.start()
        yield made
        assert "Traceback" not in made.log, made.log
        assert "factory configuration" not in made.log, made.log
    finally:
        made.close()
        shutil.rmtree(work)
