# SPDX-License-Identifier: BSD-3-Clause
"""What workers count of their own time, and what became of it between two readings."""

from sluice.cli.command import Row
from sluice.cli.view import View

COUNTERS = (
    "packets", "from_linux", "given", "taken", "busy_cycles", "idle_cycles", "sleep_cycles",
)  # fmt: skip
COLUMNS = (
    ("worker", "WORKER"),
    ("core", "CPU"),
    ("busy", "BUSY %"),
    ("idle", "IDLE %"),
    ("sleep", "SLEEP %"),
    ("packets", "PACKETS/S"),
    ("from_linux", "FROM LINUX/S"),
    ("given", "GIVEN/S"),
    ("taken", "TAKEN/S"),
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
        packets = delta["packets"] + delta["from_linux"] + delta["taken"]
        found.append(
            {
                "worker": worker,
                "core": core,
                **{
                    key: round(100 * delta[f"{key}_cycles"] / cycles, 1) if cycles else 0.0
                    for key in ("busy", "idle", "sleep")
                },
                "packets": round(delta["packets"] / seconds),
                **{key: round(delta[key] / seconds) for key in ("from_linux", "given", "taken")},
                "cycles": round(delta["busy_cycles"] / packets) if packets else None,
            }
        )
    return found
