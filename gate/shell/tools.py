# SPDX-License-Identifier: BSD-3-Clause
"""`cmd`: Linux's own tools by names one can remember, in any VRF; and the operations that models bring."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from sluice.shell import model
from sluice.shell.commands import Action, Command, call
from sluice.shell.output import Output
from sluice.shell.words import Line, Option
from sluice.shell.world import ShellError, World

NAMESPACES = Path("/run/netns")
INTERFACES = Path("/sys/class/net")
# Operations that other commands are for, or that only NETCONF itself needs.
PROTOCOL = frozenset(
    {"ietf-netconf", "ietf-netconf-monitoring", "notifications", "nc-notifications"}
)
COVERED = frozenset({("sluice-mgmt", "rollback"), ("sluice-mgmt", "checkpoint")})


@dataclass(frozen=True)
class Word:
    """What may follow a tool: a name and its value, as flags of the program."""

    name: str
    help: str
    flag: str
    expects: str = "a value"
    check: Callable[[str], bool] = lambda text: bool(text) and not text.startswith("-")


@dataclass(frozen=True)
class Tool:
    """A program. `target` is what has to follow its name, if anything. `root`: it needs that."""

    name: str
    help: str
    argv: tuple[str, ...]
    target: str = ""
    words: tuple[Word, ...] = ()
    root: bool = False
    defaults: tuple[tuple[str, str], ...] = ()
    interfaces: bool = False


def _number(text: str) -> bool:
    return text.isdecimal() and 0 < int(text) < 1 << 31


TOOLS = (
    Tool(
        "ping",
        "Whether an address answers.",
        ("ping", "-n"),
        "an address or a name",
        (
            Word("count", "How many; 5 without it.", "-c", "a number", _number),
            Word("size", "Bytes of payload.", "-s", "a number", _number),
            Word("source", "The address or interface it comes from.", "-I"),
        ),
        defaults=(("-c", "5"),),
    ),
    Tool(
        "traceroute",
        "Which routers are on the way to an address.",
        ("traceroute", "-n"),
        "an address or a name",
        (Word("source", "The address it comes from.", "-s"),),
    ),
    Tool(
        "traffic-capture",
        "Packets of an interface, those of the fast path too, until Ctrl-C.",
        ("tcpdump", "-n", "-l"),
        "an interface",
        (
            Word("count", "How many.", "-c", "a number", _number),
            Word("file", "Write them to a file, as pcap.", "-w", "a file"),
            Word("filter", "Which: an expression of tcpdump's, in quotation marks.", "", "text"),
        ),
        root=True,
        interfaces=True,
    ),
    Tool(
        "fast-path",
        "The fast path's status; `cmd shell` and fp-cli show more.",
        ("fp-cli", "status"),
    ),
    Tool("interfaces", "Linux's interfaces and addresses.", ("ip", "-brief", "address")),
    Tool("routes", "Linux's main routing table.", ("ip", "route")),
)
SHELL = Option("shell", "A plain shell of Linux's, or one command in it.")
VRF = Option("vrf", "In which VRF; main without it.")


def vrfs() -> list[str]:
    """VRFs of this machine, which are its network namespaces."""
    try:
        names = sorted(path.name for path in NAMESPACES.iterdir())
    except OSError:
        names = []
    return ["main", *(name for name in names if name != "main")]


def parse(world: World, line: Line) -> Action:
    """`cmd NAME ...`."""
    options = [Option(tool.name, tool.help, tool) for tool in TOOLS] + [SHELL]
    taken = {option.word for option in options}
    for rpc, name in operations(world):
        if name not in taken:
            options.append(Option(name, model.help_of(rpc), rpc))
    named = line.choose(options, "something to run")
    if isinstance(named.tag, Tool):
        return _tool(world, line, named.tag)
    if named is SHELL:
        return _shell(world, line)
    return call(world, line, named.tag)


def operations(world: World) -> Iterator[tuple[object, str]]:
    """The models' operations that are for people."""
    if not world.reachable():
        return
    for rpc in model.operations(world.schema):
        module, name = model.module_of(rpc), model.name_of(rpc)
        if module not in PROTOCOL and (module, name) not in COVERED:
            yield rpc, name


def _tool(world: World, line: Line, tool: Tool) -> Action:
    argv = list(tool.argv)
    target = ""
    if tool.target:
        target = line.value(
            lambda: tool.target,
            lambda text: f"{text!r} can't be {tool.target}" if text.startswith("-") else None,
            lambda: _interfaces() if tool.interfaces else [],
        ).text
    vrf, expression = "main", ""
    flags = dict(tool.defaults)
    left = {word.name: word for word in tool.words}
    asked_vrf = False
    while line.more():
        options = [Option(word.name, word.help, word) for word in left.values()]
        named = line.choose(options + ([] if asked_vrf else [VRF]), "known here")
        if named.word == VRF.word:
            asked_vrf = True
            vrf = line.choose([Option(name, "") for name in vrfs()], "a VRF of this machine").word
            continue
        word = left.pop(named.word)
        token = line.value(
            lambda word=word: word.expects,  # type: ignore[misc]
            lambda text, word=word: None if word.check(text) else f"{text!r} can't be",  # type: ignore[misc]
            list,
        )
        if word.flag:
            flags[word.flag] = token.text
        else:
            expression = token.text
    for flag, value in flags.items():
        argv += [flag, value]
    if tool.interfaces:
        argv += ["-i", target]
    elif target:
        argv += ["--", target] if tool.argv[0] == "ping" else [target]
    if expression:
        argv += ["--", expression] if tool.argv[0] != "tcpdump" else [expression]
    return lambda: start(world, argv, vrf=vrf, root=tool.root)


def _interfaces() -> list[Option]:
    return [Option(path.name) for path in sorted(INTERFACES.iterdir())]


def command_of(argv: list[str], *, vrf: str, root: bool) -> list[str]:
    """The words that run a program in a VRF; sudo gets the rights that needs."""
    words = list(argv)
    if vrf != "main":
        words = ["ip", "netns", "exec", vrf, *words]
    if (root or vrf != "main") and os.geteuid() != 0:
        words = ["sudo", "-n", *words]
    return words


def start(world: World, argv: list[str], *, vrf: str, root: bool) -> Output:
    """Run a program; its output comes as it's made."""
    if world.target.host:
        raise ShellError(
            f"{argv[0]} runs where `sluice` does, not on {world.target.host}",
            f"ssh {world.target.host} and use `sluice` there",
        )
    if shutil.which(argv[0]) is None and shutil.which(argv[0], path="/usr/sbin:/sbin") is None:
        raise ShellError(f"{argv[0]} isn't installed", "the image has it")
    words = command_of(argv, vrf=vrf, root=root)
    result = Output()

    def lines() -> Iterator[str]:
        process = subprocess.Popen(
            words,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            errors="replace",
            env=os.environ | {"PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"},
        )
        assert process.stdout is not None
        try:
            for text in process.stdout:
                yield text.rstrip("\n")
        except (KeyboardInterrupt, GeneratorExit):
            process.terminate()
        finally:
            process.stdout.close()
            code = process.wait()
        result.failed = code > 0

    result.lines = lines()
    return result


def _shell(world: World, line: Line) -> Action:
    """`cmd shell [COMMAND...]`: what follows goes to the shell as it's typed."""
    if (cursor := line.cursor()) is not None and not cursor.text:
        line.done()
    rest = line.text[line.tokens[line.at].start :] if line.more() else ""
    line.at = len(line.tokens)

    def run() -> Output:
        if world.target.host:
            raise ShellError(
                f"a shell runs where `sluice` does, not on {world.target.host}",
                f"ssh {world.target.host}",
            )
        # Not $SHELL: that's us where we are the login shell.
        words = ["bash", "-c", rest] if rest else ["bash"]
        env = os.environ | {"SHELL": "/bin/bash"}
        code = subprocess.run(words, env=env, check=False).returncode
        return Output(failed=bool(rest) and code != 0)

    return run


COMMAND = Command(
    "cmd",
    "Do something: ping, traceroute, capture packets, a shell, the models' operations.",
    (
        *((f"cmd {tool.name} ...", tool.help) for tool in TOOLS),
        ("cmd shell [COMMAND]", SHELL.help),
        ("cmd OPERATION [NAME VALUE]...", "An operation of a model."),
    ),
    parse,
)
