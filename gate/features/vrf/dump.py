# SPDX-License-Identifier: BSD-3-Clause
"""VRFs in the canonical dump."""

from collections.abc import Iterator

from _sluice import lib
from sluice.shm import Row, Tables


def canonical(tables: Tables) -> Iterator[Row]:
    """Each VRF in which the fast path may forward; to it, the others are as good as unknown."""
    for number, row in enumerate(tables.structs("vrf")):
        if row.flags != lib.FPC_VRF_FLAGS:
            local4 = "".join(f"{word:08x}" for word in row.local4)
            yield {
                "vrf": number,
                "flags": row.flags,
                "local4": local4,
                "seed": row.multipath_seed,
            }
