# SPDX-License-Identifier: BSD-3-Clause
"""fp-cpu-usage: how busy the fast path's workers are.

Measured over an interval by the workers themselves, in cycles of the processor's time stamp
counter. A worker that has nothing to do polls a while (idle), then sleeps. Keys of `-j`, one object
a worker: worker, core, busy, idle, sleep (percent of the interval), packets (a second, received
from ports), from_linux (a second), given (a second: those of packets that other workers were
given to handle, see FP_SPREAD), taken (a second: those that this worker was given), cycles (busy
cycles per packet received, from Linux or taken; null without packets).
"""

import sys
import time
from collections.abc import Sequence

from sluice.cli.cpu_counters import COLUMNS, read, usage
from sluice.cli.error import CliError
from sluice.cli.main import Parser
from sluice.cli.output import aligned
from sluice.cli.view import View

PROGRAM = "fp-cpu-usage"


def parser() -> Parser:
    """The command line."""
    top = Parser(prog=PROGRAM, description="How busy the fast path's workers are.")
    top.add_argument("--instance", default="main", metavar="NAME", help="default main")
    top.add_argument("-j", "--json", action="store_true", help="a list of objects")
    top.add_argument(
        "--interval", type=float, default=1, metavar="S", help="seconds to measure (default 1)"
    )
    return top


def run(argv: Sequence[str]) -> str:
    """The output of a command line."""
    arguments = parser().parse_args(argv)
    if not 0.01 <= arguments.interval <= 3600:
        raise CliError(f"can't measure over {arguments.interval:g} s", hint="use 0.01 to 3600")
    view = View(arguments.instance)
    before, start = read(view), time.monotonic()
    if not before:
        raise CliError(
            f"instance '{arguments.instance}' has no running worker", hint="is fp-rte running?"
        )
    time.sleep(arguments.interval)
    rows = usage(before, read(view), time.monotonic() - start)
    if arguments.json:
        import json

        return json.dumps(rows, indent=1)
    return aligned(rows, COLUMNS)


def main() -> int:
    """The program."""
    try:
        print(run(sys.argv[1:]))
    except CliError as error:
        return error.show(PROGRAM)
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
