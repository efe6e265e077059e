"""Limits of Linux that would make a test's outcome depend on what was sent before."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def unlimited_errors() -> Iterator[None]:
    """How often Linux tells one sender that there's no route: the one limit of ICMP errors that
    isn't a namespace's.
    """
    cost = Path("/proc/sys/net/ipv4/route/error_cost")
    before = cost.read_text()
    cost.write_text("0")
    try:
        yield
    finally:
        cost.write_text(before)
