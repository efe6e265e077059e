"""Progress lines on stderr: what each long step is doing, and how long it took."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager


def progress(text: str) -> None:
    # Not sys.stderr: Robot Framework puts that into its log, where nobody sees it in time.
    print(f"[lab] {text}", file=sys.__stderr__, flush=True)


@contextmanager
def step(text: str) -> Iterator[None]:
    """Announce a long step, and its duration when it succeeded."""
    progress(f"{text} ...")
    start = time.monotonic()
    yield
    progress(f"{text}: done in {time.monotonic() - start:.1f} s")
