# SPDX-License-Identifier: BSD-3-Clause
"""The program: options, batches, errors as people see them."""

import argparse
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from sluice.mgmt.yang import YangError
from sluice.shell import reader
from sluice.shell.client import SOCKET, Offline, RpcError, Target
from sluice.shell.commands import COMMANDS
from sluice.shell.load import FileError
from sluice.shell.place import Place
from sluice.shell.show import View, difference
from sluice.shell.words import Refused, split
from sluice.shell.world import ShellError, World, pretty, tracing

PROG = "sluice"
RELAY = "/usr/bin/yams-netconf"
FAILED = 1


class Failed(Exception):  # noqa: N818
    """A command didn't do what it was to do, and has said so."""


def perform(world: World, text: str, out: TextIO, *, as_json: bool = False) -> None:
    """Run one line; its output goes to `out`. Raises what went wrong."""
    job = reader.parse(world, text)
    if job is None:
        return
    seconds, times = job.plumbing.watch or (0.0, 1)
    done = 0
    failed = False
    while True:
        if job.plumbing.rpc:
            with tracing(world) as traced:
                for _ in job.plumbing.run(job.action()):
                    pass
                world.flush()
            lines: Iterator[str] = iter(traced)
        else:
            output = job.action()
            if as_json and output.view is None and output.value is None and not output.lines:
                lines = iter(())
            else:
                lines = job.plumbing.run(output, as_json=as_json)
        if done and out.isatty():
            out.write("\033[H\033[2J")
        for line in lines:
            out.write(line + "\n")
            if job.repeats or text.lstrip().startswith("cmd"):
                out.flush()
        if not job.plumbing.rpc:
            failed = output.failed
        done += 1
        if done == times:
            break
        out.flush()
        time.sleep(seconds)
    if failed:
        raise Failed


def complaint(world: World, error: Exception, text: str, where: str = "") -> Iterator[str]:
    """An error as lines: what, the word that's meant, what to do. `where`: of a file."""
    before = f"{where}: " if where else ""
    match error:
        case Refused():
            yield f"{PROG}: error: {before}{error.text}"
            yield from pointed(text, error.start, error.end)
            if error.hint:
                yield f"{PROG}: hint: {error.hint}"
        case RpcError():
            for line in world.explained(error):
                yield f"{PROG}: error: {before}{line}"
        case Offline() | ShellError():
            yield f"{PROG}: error: {before}{error}"
            if isinstance(error, FileError) and error.line and error.end:
                yield from pointed(error.line, error.start, error.end)
            if error.hint:
                yield f"{PROG}: hint: {error.hint}"
        case YangError():
            for problem in error.problems:
                place = world.where(problem.path)
                yield f"{PROG}: error: {before}{f'{place}: ' if place else ''}{problem.text}"
        case _:
            yield f"{PROG}: error: {before}{error}"


def pointed(text: str, start: int, end: int) -> Iterator[str]:
    """The line, and marks below the word that's meant."""
    yield f"  {text}".replace("\t", " ").rstrip()
    yield f"  {' ' * start}{'^' * max(1, end - start)}"


EXPECTED = (Refused, RpcError, Offline, ShellError, YangError)


def commands_of(text: str) -> Iterator[str]:
    """The commands of one -c: a semicolon stands between."""
    start = 0
    for token in split(text)[0]:
        if token.text == ";" and not token.quoted:
            yield text[start : token.start].strip()
            start = token.end
    yield text[start:].strip()


def batch(world: World, lines: Iterator[tuple[str, str]], *, as_json: bool) -> int:
    """Run lines, each with where it stands. The first that fails ends it; then nothing uncommitted is left."""
    text = where = ""
    try:
        for text, where in lines:  # noqa: B007 (where: for the error)
            perform(world, text, sys.stdout, as_json=as_json)
        text = where = ""
        world.flush()
        if world.editing and world.edited and _differs(world):
            raise ShellError(
                "it ends with changes that aren't committed: they're lost", "end it with `commit`"
            )
    except EXPECTED as error:
        sys.stdout.flush()
        for line in complaint(world, error, text, where):
            print(line, file=sys.stderr)
        return FAILED
    except EOFError:
        return 0
    except Failed:
        return FAILED
    return 0


def _differs(world: World) -> bool:
    running = list(View(world.tree("running"), Place()).flat())
    return any(difference(running, list(View(world.tree("candidate"), Place()).flat())))


def numbered(path: str) -> Iterator[tuple[str, str]]:
    """A file's lines; `-` is standard input."""
    name = "standard input" if path == "-" else path
    try:
        with sys.stdin if path == "-" else Path(path).open() as file:
            for number, text in enumerate(file, 1):
                yield text.rstrip("\n"), f"{name}, line {number}"
    except OSError as error:
        raise ShellError(f"can't read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ShellError(f"{path} isn't text") from None


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog=PROG,
        description="Sluice's command line: configuration and state of the appliance, over NETCONF.",
        epilog="Without -c and -f it waits for commands; ? helps, Tab completes.",
    )
    made.add_argument("-c", dest="commands", action="append", metavar="COMMANDS",
                      help="run commands, with ; between them, and end")  # fmt: skip
    made.add_argument("-f", dest="file", metavar="FILE",
                      help="run a file's commands, one a line, and end; - is standard input")  # fmt: skip
    made.add_argument("-j", dest="json", action="store_true", help="output is JSON")
    made.add_argument("-H", dest="host", metavar="[USER@]HOST[:PORT]",
                      help="NETCONF over SSH to another machine, port 830")  # fmt: skip
    made.add_argument("--rpc", action="store_true",
                      help="show the XML of all RPCs on standard error")  # fmt: skip
    made.add_argument("--socket", type=Path, default=SOCKET, help=f"yamsd's socket ({SOCKET})")
    return made


def main() -> None:
    """The program."""
    options = parser().parse_args()
    if options.commands == [RELAY]:
        # sshd runs its subsystem `netconf` by the user's login shell, and that's us.
        os.execv(RELAY, [RELAY])
    try:
        target = Target.parse(options.host) if options.host else Target(options.socket)
    except ValueError as error:
        sys.exit(f"{PROG}: error: {error}")
    if options.commands and options.file:
        sys.exit(f"{PROG}: error: -c and -f don't go together")
    interactive = not options.commands and not options.file and sys.stdin.isatty()
    world = World(target, batch=not interactive)
    if options.rpc:
        world.traced = lambda direction, data: print(
            "\n".join(pretty(direction, data)), file=sys.stderr
        )
    try:
        if interactive:
            from sluice.shell import interactive as terminal

            code = terminal.run(world, as_json=options.json)
        else:
            signal.signal(signal.SIGPIPE, signal.SIG_DFL)
            if options.commands:
                lines = iter([(c, "") for text in options.commands for c in commands_of(text)])
            else:
                lines = numbered(options.file or "-")
            code = batch(world, lines, as_json=options.json)
    except KeyboardInterrupt:
        code = 130
    finally:
        world.close()
    sys.stdout.flush()
    sys.exit(code)


__all__ = ["COMMANDS", "main"]

if __name__ == "__main__":
    os.environ.setdefault("LC_ALL", "C.UTF-8")
    main()
