"""`python3 -m lab`: the commands."""

import argparse
import os
import signal
import sys
from collections.abc import Callable, Sequence

from lab import netns, paths, state
from lab.appliance import Appliance
from lab.errors import LabError
from lab.progress import progress

DEFAULT_LAB = "two_hosts"


def main(argv: Sequence[str] | None = None) -> int:
    arguments = parser().parse_args(argv)
    # The rest of the line is a command, options and all, with or without a `--` before it.
    if getattr(arguments, "argv", [])[:1] == ["--"]:
        del arguments.argv[0]
    command: Callable[[argparse.Namespace], int] = arguments.command
    # Whoever asks us to end gets a clean machine as with ^C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return command(arguments)
    except LabError as error:
        print(f"error: {error.message}", file=sys.stderr)
        if error.hint:
            print(f"hint: {error.hint}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("error: interrupted", file=sys.stderr)
        return 130


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(
        prog="python3 -m lab", description="The lab: the appliance between hosts, and its tests."
    )
    commands = top.add_subparsers(required=True, metavar="COMMAND")

    run = commands.add_parser("run", help="boot the appliance, send traffic through it, show it")
    run.add_argument("--keep", action="store_true", help="leave it up afterwards")
    run.add_argument(
        "--container",
        action="store_true",
        help="run the appliance's processes in a namespace instead of a virtual machine",
    )
    run.add_argument("--seconds", type=float, default=5, help="length of each flow (default 5)")
    run.set_defaults(command=command_run)

    test = commands.add_parser("test", help="run the Robot Framework suites")
    test.add_argument(
        "--suite", default="all", help="smoke (the short set), all, or a suite's name (default all)"
    )
    test.set_defaults(command=command_test)

    vm = commands.add_parser("vm", help="run a command in a virtual machine, in the tools tree")
    vm.add_argument(
        "--out",
        default="build/test",
        help="folder of the checkout that the command can write to (default build/test)",
    )
    vm.add_argument(
        "--env", action="append", default=[], metavar="NAME", help="hand over this variable"
    )
    vm.add_argument("argv", nargs=argparse.REMAINDER, metavar="-- CMD...")
    vm.set_defaults(command=command_vm)

    for name, text, function in (
        ("console", "the serial console of a lab that was kept up", command_console),
        ("ssh", "a shell, or one command, in the appliance of a lab that was kept", command_ssh),
        ("host", "a shell, or one command, in a host of a lab that was kept", command_host),
    ):
        command = commands.add_parser(name, help=text)
        command.add_argument("--lab", default="", help="its name, if several are up")
        if name == "host":
            command.add_argument("host", help="h1, h2, ...")
        if name != "console":
            command.add_argument("argv", nargs=argparse.REMAINDER, metavar="CMD...")
        command.set_defaults(command=function)

    stop = commands.add_parser("stop", help="end what `run --keep` left up")
    stop.set_defaults(command=command_stop)
    cleanup = commands.add_parser(
        "cleanup", help="remove all labs that no process uses, also the rest of crashed runs"
    )
    cleanup.set_defaults(command=command_stop)
    return top


def command_run(arguments: argparse.Namespace) -> int:
    from lab.demo import demonstrate

    return demonstrate(
        keep=arguments.keep, container=arguments.container, seconds=arguments.seconds
    )


def command_test(arguments: argparse.Namespace) -> int:
    from lab.suites import run_suites

    return run_suites(arguments.suite)


def command_vm(arguments: argparse.Namespace) -> int:
    from lab.seat import run_in_vm

    if not arguments.argv:
        raise LabError("no command to run in the virtual machine", hint="python3 -m lab vm -- CMD")
    return run_in_vm(arguments.argv, out=arguments.out, env=arguments.env)


def command_console(arguments: argparse.Namespace) -> int:
    lab = kept_lab(arguments.lab)
    socket = paths.run_dir(lab.name) / "console.sock"
    if not socket.exists():
        raise LabError(f"the lab {lab.name} has no console", hint="containers have none; use ssh")
    progress("serial console; log in as root needs a key, so use ssh for that; end with Ctrl-]")
    os.execvp("socat", ["socat", "STDIO,raw,echo=0,escape=0x1d", f"UNIX-CONNECT:{socket}"])


def command_ssh(arguments: argparse.Namespace) -> int:
    lab = kept_lab(arguments.lab)
    if lab.backend == "libvirt":
        from lab.vm import VmLab

        appliance: Appliance = VmLab(lab.topology, name=lab.name).appliance
    else:
        from lab.container import ContainerLab

        appliance = ContainerLab(lab.topology, name=lab.name).appliance
    words = appliance.shell_command(arguments.argv)
    os.execvp(words[0], words)


def command_host(arguments: argparse.Namespace) -> int:
    lab = kept_lab(arguments.lab)
    space = netns.namespace(lab.name, arguments.host)
    if space not in netns.existing():
        raise LabError(f"the lab {lab.name} has no host {arguments.host}")
    words = [str(word) for word in netns.in_namespace(space, arguments.argv or ["bash"])]
    os.execvp(words[0], words)


def kept_lab(name: str) -> state.State:
    labs = [lab for lab in state.kept_labs() if name in ("", lab.name)]
    if not labs:
        raise LabError("no lab is up", hint="start one with: make run KEEP=1")
    if len(labs) > 1:
        raise LabError(
            f"{len(labs)} labs are up", hint=f"--lab {' or '.join(x.name for x in labs)}"
        )
    return labs[0]


def command_stop(_: argparse.Namespace) -> int:
    removed = state.cleanup()
    progress(f"removed: {', '.join(removed)}" if removed else "nothing was up")
    return 0
