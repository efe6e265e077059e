"""Processes and bounded waiting."""

import shlex
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

from lab.errors import LabError

Completed = subprocess.CompletedProcess[str]


def run(
    argv: Sequence[str | Path],
    *,
    check: bool = True,
    timeout: float = 60,
    stdin: str | None = None,
) -> Completed:
    """Run a command to its end. A failure is a LabError that quotes its last line."""
    words = [str(word) for word in argv]
    shown = shlex.join(words)
    if len(shown) > 200:
        shown = shown[:200] + "..."
    try:
        # Without input of its own a command must not eat ours (ssh would).
        done = subprocess.run(
            words,
            input=stdin if stdin is not None else "",
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            check=False,
        )
    except FileNotFoundError:
        raise LabError(
            f"no such command: {words[0]}", hint="run inside the tools tree (image/tools/enter)"
        ) from None
    except subprocess.TimeoutExpired:
        raise LabError(f"`{shown}` didn't end within {timeout:g} s") from None
    if check and done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip() or "it said nothing").splitlines()[-1]
        raise LabError(f"`{shown}` failed with status {done.returncode}: {said}")
    return done


def spawn(
    argv: Sequence[str | Path],
    *,
    log: Path | None = None,
    stdin: int | IO[bytes] | None = subprocess.DEVNULL,
    env: Mapping[str, str] | None = None,
) -> subprocess.Popen[bytes]:
    """Start a process in a session of its own, so that ^C at the terminal isn't its end."""
    out = log.open("ab") if log else subprocess.DEVNULL
    try:
        return subprocess.Popen(
            [str(word) for word in argv],
            stdin=stdin,
            stdout=out,
            stderr=subprocess.STDOUT if log else subprocess.DEVNULL,
            env=env,
            start_new_session=True,
        )
    finally:
        if not isinstance(out, int):
            out.close()


def wait_for[T](
    probe: Callable[[], T | None],
    what: str,
    *,
    timeout: float,
    interval: float = 0.2,
    hint: str = "",
) -> T:
    """Poll until `probe` returns something true; the bound makes it a LabError naming `what`."""
    deadline = time.monotonic() + timeout
    while True:
        value = probe()
        if value:
            return value
        if time.monotonic() > deadline:
            raise LabError(f"{what}: not within {timeout:g} s", hint=hint)
        time.sleep(interval)


def stop(process: subprocess.Popen[bytes], *, timeout: float = 5) -> int:
    """End a process that we started: politely, then not."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(timeout)
        except subprocess.TimeoutExpired:
            process.kill()
    return process.wait()
