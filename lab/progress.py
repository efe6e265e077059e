"""Progress lines on stderr: what each long step is doing, and how long it took."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager


def progress(text: str) -> None:
    print(f"[lab] {text}", file=sys.stderr, flush=True)


@contextmanager
def step(text: str) -> Iterator[None]:
    """Announce a long step, and its duration when it succeeded."""
    progress(f"{text} ...")
    start = time.monotonic()
    yield
    progress(f"{text}: done in {time.monotonic() - start:.1f} s")
