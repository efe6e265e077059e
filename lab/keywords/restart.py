"""Keywords: kill what runs, under traffic, and see everything come back as it was."""

import json
from collections.abc import Mapping

from lab import proc, traffic
from lab.appliance import Json
from lab.demo import settle
from lab.errors import LabError
from lab.keywords.session import SESSION

__all__ = ["daemon_can_be_killed_under_traffic"]

# Not the neighbours: Linux learns and forgets them meanwhile, so they are what Linux says, no more.
TABLES = ("interfaces", "routes")
# Not configuration: how long ago, how often, in which state of Linux's own timers.
VOLATILE = ("hit", "state", "age", "used")


def daemon_can_be_killed_under_traffic(daemon: str, most_lost_seconds: float) -> None:
    """SIGKILL a daemon: systemd brings it back, traffic goes on, the tables are the same again and
    what Linux says.

    `most_lost_seconds` is how long traffic may stand still.
    """
    appliance, h1, h2 = SESSION.appliance, SESSION.host("h1"), SESSION.host("h2")
    before = tables()
    pid = main_pid(daemon)
    interval = 0.05
    pings = {
        family: traffic.BackgroundPing(h1, h2.address(family), interval=interval)
        for family in (4, 6)
    }
    try:
        appliance.kill(daemon)
        proc.wait_for(
            lambda: main_pid(daemon) not in (0, pid) and active(daemon),
            f"restart of {daemon}",
            timeout=120,
            interval=1,
        )
        settle(appliance, h1, h2)
    finally:
        results = {family: ping.stop() for family, ping in pings.items()}
    try:
        proc.wait_for(
            lambda: tables() == before, f"the same tables after {daemon}'s restart", timeout=60
        )
        proc.wait_for(as_linux_says, f"what Linux says after {daemon}'s restart", timeout=60)
    except LabError:
        show_differences(before, tables())
        raise
    for family, result in results.items():
        lost = (result.sent - result.received) * interval
        print(f"IPv{family}: {result.received} of {result.sent} pings answered")
        assert lost <= most_lost_seconds, (
            f"IPv{family} traffic stood still for {lost:.1f} s when {daemon} was killed"
        )


def as_linux_says() -> bool:
    return SESSION.appliance.run(["fp-sync", "check"], check=False).returncode == 0


def show_differences(before: Mapping[str, Json], after: Mapping[str, Json]) -> None:
    for name in TABLES:
        for row in sorted(set(before[name]) ^ set(after[name])):
            print(f"{name}: {'gone' if row in before[name] else 'new'}: {row}")


def tables() -> Mapping[str, Json]:
    """What the fast path's tables say, in an order that doesn't depend on their history."""
    return {name: sorted(map(plain, SESSION.appliance.fp_cli(name))) for name in TABLES}


def plain(row: Json) -> str:
    kept = {key: value for key, value in row.items() if key not in VOLATILE}
    return json.dumps(kept, sort_keys=True)


def main_pid(daemon: str) -> int:
    words = ["systemctl", "show", "--property=MainPID", "--value", f"{daemon}.service"]
    return int(SESSION.appliance.run(words).stdout.strip() or 0)


def active(daemon: str) -> bool:
    words = ["systemctl", "is-active", f"{daemon}.service"]
    return SESSION.appliance.run(words, check=False).stdout.strip() == "active"
