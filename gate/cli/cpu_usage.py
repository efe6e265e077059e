# SPDX-License-Identifier: BSD-3-Clause
"""fp-cpu-usage: how busy the fast path's workers are.

Measured over an interval by the workers themselves, in cycles of the processor's time stamp
counter. A worker that has nothing to do polls a while (idle), then sleeps. Keys of `-j`, one object
a worker: worker, core, busy, idle, sleep (percent of the interval), packets (a second, received
from ports), from_linux (a second), cycles (busy cycles per packet, null without packets).
"""

import sys
import time
from collections.abc import Sequence

from sluice.cli.command import Row
from sluice.cli.error import CliError
from sluice.cli.main import Parser
from sluice.cli.output import aligned
from sluice.cli.view import View

PROGRAM = "fp-cpu-usage"
COUNTERS = ("packets", "from_linux", "busy_cycles", "idle_cycles", "sleep_cycles")
COLUMNS = (
    ("worker", "WORKER"),
    ("core", "CPU"),
    ("busy", "BUSY %"),
    ("idle", "IDLE %"),
    ("sleep", "SLEEP %"),
    ("packets", "PACKETS/S"),
    ("from_linux", "FROM LINUX/S"),
    ("cycles", "CYCLES/PACKET"),
)


def read(view: View) -> dict[tuple[int, int], dict[str, int]]:
    """The counters of running workers, by worker and CPU."""
    return {
        (worker.number, worker.core): {key: getattr(worker.row, key) for key in COUNTERS}
        for worker in view.workers()
        if worker.running
    }


def usage(
    before: dict[tuple[int, int], dict[str, int]],
    after: dict[tuple[int, int], dict[str, int]],
    seconds: float,
) -> list[Row]:
    """What the workers did between two readings."""
    found: list[Row] = []
    for (worker, core), now in after.items():
        then = before.get((worker, core), dict.fromkeys(COUNTERS, 0))
        delta = {key: now[key] - then[key] for key in COUNTERS}
        cycles = delta["busy_cycles"] + delta["idle_cycles"] + delta["sleep_cycles"]
        packets = delta["packets"] + delta["from_linux"]
        found.append(
            {
                "worker": worker,
                "core": core,
                **{
                    key: round(100 * delta[f"{key}_cycles"] / cycles, 1) if cycles else 0.0
                    for key in ("busy", "idle", "sleep")
                },
                "packets": round(delta["packets"] / seconds),
                "from_linux": round(delta["from_linux"] / seconds),
                "cycles": round(delta["busy_cycles"] / packets) if packets else None,
            }
        )
    return found


def run(argv: Sequence[str]) -> str:
    """The output of a command line."""
    parser = Parser(prog=PROGRAM, description="How busy the fast path's workers are.")
    parser.add_argument("--instance", default="main", metavar="NAME", help="default main")
    parser.add_argument("-j", "--json", action="store_true", help="a list of objects")
    parser.add_argument(
        "--interval", type=float, default=1, metavar="S", help="seconds to measure (default 1)"
    )
    arguments = parser.parse_args(argv)
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
