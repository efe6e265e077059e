# SPDX-License-Identifier: BSD-3-Clause
"""What a daemon in Python needs beside its work: options, log, its instance's lock, systemd."""

import argparse
import asyncio
import logging
import os
import re
import socket
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import NoReturn

from _sluice import ffi, lib

RUN = Path("/run/sluice")
INSTANCE = re.compile(r"[A-Za-z0-9_-]{1,31}")


class FatalError(Exception):
    """Ends the daemon, with one line and perhaps a hint."""

    def __init__(self, text: str, hint: str = "") -> None:
        super().__init__(text)
        self.hint = hint


class LogFormat(logging.Formatter):
    """One line with the priority that journald reads; a traceback's lines follow."""

    PRIORITIES = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3}

    def format(self, record: logging.LogRecord) -> str:
        return f"<{self.PRIORITIES.get(record.levelno, 5)}>{super().format(record)}"


def set_up_log(log: logging.Logger, *, debug: bool) -> None:
    """Log lines go to standard error, which is the journal."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LogFormat("%(message)s"))
    log.addHandler(handler)
    log.propagate = False
    log.setLevel(logging.DEBUG if debug else logging.INFO)


def notify(log: logging.Logger, state: str) -> None:
    """Tell systemd; nothing without it."""
    path = os.environ.get("NOTIFY_SOCKET")
    if not path:
        return
    address = "\0" + path[1:] if path.startswith("@") else path
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as opened:
        try:
            opened.sendto(state.encode(), address)
        except OSError as error:
            log.warning("systemd isn't told: %s", error)


def die(program: str, text: str, hint: str = "") -> NoReturn:
    """One line and perhaps a hint, exit status 1."""
    print(f"{program}: error: {text}", file=sys.stderr)
    if hint:
        print(f"{program}: hint: {hint}", file=sys.stderr)
    sys.exit(1)


class Parser(argparse.ArgumentParser):
    """Says what is wrong in our form."""

    def error(self, message: str) -> NoReturn:
        """Called by argparse for wrong arguments."""
        die(self.prog, message, f"see {self.prog} --help")


def parser(program: str, description: str) -> Parser:
    """The options that all daemons have."""
    top = Parser(prog=program, description=description)
    top.add_argument("--instance", default="main", metavar="NAME", help="which fast path (main)")
    top.add_argument("-d", "--debug", action="store_true", help="log every action and its cause")
    return top


def take_lock(program: str, instance: str) -> None:
    """Hold the instance's lock from now on: `fp-cli status` sees by it that the daemon lives."""
    if not INSTANCE.fullmatch(instance):
        die(program, f"'{instance}' is no instance name", "1 to 31 letters, digits, '-' and '_'")
    paths, error = ffi.new("struct paths *"), ffi.new("struct err *")
    path = str(RUN / instance / f"{program}.lock").encode()
    if lib.paths_init(paths, instance.encode(), error) or lib.lock_take(
        path, program.encode(), instance.encode(), error
    ):
        die(program, ffi.string(error.text).decode(), ffi.string(error.hint).decode())


def run(top: Parser, log: logging.Logger, start: Callable[[str], Awaitable[None]]) -> None:
    """A daemon without options of its own, from its command line to its end: `start` makes it for an
    instance, in the loop that runs it, and returns when it's cancelled.
    """

    async def started(instance: str) -> None:
        await start(instance)

    options = top.parse_args()
    set_up_log(log, debug=options.debug)
    take_lock(top.prog, options.instance)
    try:
        asyncio.run(started(options.instance))
    except (asyncio.CancelledError, KeyboardInterrupt):
        pass
    except FatalError as error:
        die(top.prog, str(error), error.hint)
    except OSError as error:
        die(top.prog, str(error))
