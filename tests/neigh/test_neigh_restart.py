# SPDX-License-Identifier: BSD-3-Clause
"""Hit times go by a neighbour's row, so it keeps its row when fpmd is killed and starts again."""

from typing import Any

from sluice.fpc import encode

from tests.fpmd.conftest import Fpmd, fpmd, idle, router, sync

__all__ = ["fpmd", "idle"]


def neighbours(count: int) -> list[tuple[str, bytes]]:
    return [
        (
            "neigh",
            encode(
                "neigh",
                vrf=0,
                ifindex=2,
                family=2,
                addr=f"198.51.100.{i}",
                mac=f"02:00:00:00:01:{i:02x}",
            ),
        )
        for i in range(1, count + 1)
    ]


def rows(daemon: Fpmd) -> dict[Any, int]:
    """Row by interface row and address."""
    return {
        (r["iface"], bytes(r["addr"]) if not isinstance(r["addr"], str) else r["addr"]): r["row"]
        for r in daemon.tables().rows("neigh")
        if r["valid"]
    }


def test_a_neighbour_keeps_its_row_over_a_restart(fpmd: Fpmd) -> None:
    rte = fpmd.rte()
    rte.sync()
    sync(fpmd.connect(), [*router(), *neighbours(40)])
    before = rows(fpmd)
    assert len(before) > 40
    fpmd.kill()
    rte.connection = None
    fpmd.start()
    rte.sync()
    base = [o for o in router() if o[0] != "neigh"]
    mine = [o for o in router() if o[0] == "neigh"]
    kept = neighbours(50)[10:]
    sync(fpmd.connect(), [*base, *reversed(kept), *mine])
    after = rows(fpmd)
    new = {row for key, row in after.items() if key not in before}
    assert {key: row for key, row in after.items() if key in before} == {
        key: before[key] for key in before if key in after
    }
    assert len(new) == 10
    assert not new & set(before.values())
