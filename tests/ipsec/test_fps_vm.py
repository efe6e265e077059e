# SPDX-License-Identifier: BSD-3-Clause
"""SAs' counters told to the appliance's own kernel. What the fast path did is made up here, the kernel isn't."""

import json
import re
import struct
import subprocess
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from _sluice import ffi
from sluice.features.ipsec import fps
from sluice.fpsd.places import Asking

from lab.proc import wait_for
from tests.cmgrd.kernel import in_namespace
from tests.ipsec.test_fps import SPI, Rig

pytestmark = [pytest.mark.functional, pytest.mark.vm]

ENDS = f"src 192.0.2.1 dst 192.0.2.2 proto esp spi {SPI:#x}"
GCM = "mode tunnel aead rfc4106(gcm(aes)) 0x000102030405060708090a0b0c0d0e0f10111213 128"


def xfrm(words: str) -> str:
    done = subprocess.run(["ip", *words.split()], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{words}: {done.stderr}"
    return done.stdout


def shown() -> str:
    """What `ip -s xfrm state` says of it; "" without it."""
    return xfrm("-s xfrm state")


def lifetime(text: str) -> tuple[int, int]:
    found = re.search(r"lifetime current:\s+(\d+)\(bytes\), (\d+)\(packets\)", text)
    assert found, text
    return int(found[1]), int(found[2])


class Real:
    """Places with this namespace's kernel."""

    def __init__(self) -> None:
        self.opened = Asking(fps.NETLINK_XFRM)

    def asking(self, vrf: int, config: Any) -> Asking:
        return self.opened

    def close(self) -> None:
        self.opened.socket.close()


def started(folder: Path) -> Rig:
    rig = Rig(folder)
    rig.sa.dst[0:4] = bytes([192, 0, 2, 2])
    rig.sa.src[0:4] = bytes([192, 0, 2, 1])
    rig.counters.places = Real()  # type: ignore[assignment]
    return rig


def run(body: Callable[[], None]) -> None:
    async def whole() -> None:
        body()

    wanted: Callable[[], Awaitable[None]] = whole
    in_namespace(wanted)


def test_linux_shows_its_own_and_the_fast_paths(tmp_path: Path) -> None:
    def body() -> None:
        xfrm(f"xfrm state add {ENDS} {GCM}")
        rig = started(tmp_path)
        rig.send(7, 100)
        rig.tick()
        assert lifetime(shown()) == (700, 7)
        assert "oseq 0x7" in shown()
        rig.send(1, 50)
        rig.tick()
        assert lifetime(shown()) == (750, 8)
        assert rig.counters.refused == 0
        rig.counters.close()

    run(body)


@pytest.mark.parametrize("window", [64, 128, 1024, 4096])
def test_extended_numbers_and_windows(tmp_path: Path, window: int) -> None:
    def body() -> None:
        xfrm(f"xfrm state add {ENDS} {GCM} replay-window {window} flag esn")
        rig = started(tmp_path)
        rig.sa.window = window
        top = (1 << 32) + 100
        rig.state.received, rig.state.sent = top, (1 << 33) + 5
        for seq in (top, top - 2, top - 40):
            at = seq // 32 % len(rig.state.blocks)
            rig.state.blocks[at] = (rig.state.blocks[at] & 0xFFFFFFFF) | (
                seq // 32 & 0xFFFFFFFF
            ) << 32
            rig.state.blocks[at] |= 1 << seq % 32
        rig.send(3)
        rig.state.sent = (1 << 33) + 5
        rig.tick()
        text = shown()
        assert "seq-hi 0x1, seq 0x64, oseq-hi 0x2, oseq 0x5" in text, text
        # And the kernel's own view of the window is what we read back.
        answer = rig.counters.places.opened.ask(  # type: ignore[attr-defined]
            fps.GETAE,
            0,
            next(fps.seen_sas(rig.config, rig.stats)).ident + struct.pack("=II", 6, 0),  # type: ignore[arg-type]
        )
        found = fps.from_kernel(fps.attributes(answer[fps.AEVENT_ID.size :]))
        assert found
        assert (found.received, found.window) == (top, window)
        assert {age for age in range(window) if found.seen >> age & 1} == {0, 2, 40}
        rig.counters.close()

    run(body)


def test_an_sa_with_a_mark_is_the_one_that_is_told(tmp_path: Path) -> None:
    def body() -> None:
        xfrm(f"xfrm state add {ENDS} {GCM} mark 5 mask 0xff")
        rig = started(tmp_path)
        rig.sa.mark, rig.sa.mark_mask = 5, 0xFF
        rig.send(4)
        rig.tick()
        assert lifetime(shown()) == (400, 4)
        rig.counters.close()

    run(body)


def test_limits_reach_the_key_daemon(tmp_path: Path) -> None:
    """As strongSwan hears it: on the group of expirations, soft; and hard, with which the SA is gone."""

    def body() -> None:
        xfrm(f"xfrm state add {ENDS} {GCM} limit byte-soft 1000 limit byte-hard 2000")
        log = tmp_path / "monitor"
        with (
            log.open("w") as out,
            subprocess.Popen(
                ["stdbuf", "-oL", "ip", "xfrm", "monitor", "expire"], stdout=out
            ) as monitor,
        ):
            try:
                # It listens as soon as it hears of another SA's end.
                other = ENDS.replace(f"{SPI:#x}", "0x9999")
                wait_for(
                    lambda: (
                        xfrm(f"xfrm state add {other} {GCM} limit time-hard 1"),
                        subprocess.run(["sleep", "1.5"], check=True),
                        "0x00009999" in log.read_text(),
                    )[-1],
                    "the monitor to listen",
                    timeout=30,
                    interval=0.1,
                )
                rig = started(tmp_path)
                rig.sa.soft_bytes, rig.sa.hard_bytes = 1000, 2000
                rig.send(9)
                rig.tick()
                assert "0x00001234" not in log.read_text()
                rig.send(2)
                rig.tick()
                soft = r"0x00001234[^\n]*(\n\s[^\n]*)*\n\s*hard 0"
                wait_for(
                    lambda: re.search(soft, log.read_text()), "soft", timeout=10, interval=0.05
                )
                assert lifetime(shown()) == (1100, 11)
                rig.send(10)
                rig.tick()
                wait_for(lambda: "0x00001234" not in shown(), "hard", timeout=10, interval=0.05)
                rig.send(1)
                rig.tick()
                assert rig.counters.refused == 0
                rig.counters.close()
            finally:
                monitor.kill()

    run(body)


def test_200_sas_are_told_quickly(tmp_path: Path) -> None:
    """The time is printed, not judged."""

    def body() -> None:
        rig = started(tmp_path)
        rows, states = (
            ffi.new("struct ipsec_sa_row[201]"),
            ffi.new("struct ipsec_sa_state_row[201]"),
        )
        for at in range(1, 201):
            ffi.memmove(
                ffi.addressof(rows[at]),
                ffi.addressof(rig.sa),
                ffi.sizeof("struct ipsec_sa_row"),
            )
            spi = 0x2000 + at
            rows[at].spi = int.from_bytes(spi.to_bytes(4), "little")
            rows[at].generation = states[at].generation = 1000 + at
            states[at].packets, states[at].bytes, states[at].sent = at, 100 * at, at
            xfrm(f"xfrm state add {ENDS.replace(f'{SPI:#x}', hex(spi))} {GCM}")
        rig.config.rows, rig.stats.rows, rig.config.used = rows, states, 200
        start = time.monotonic()
        rig.tick()
        print(json.dumps({"sas": 200, "seconds": round(time.monotonic() - start, 4)}))
        assert rig.counters.told == 200
        text = shown()
        assert f"{100 * 200}(bytes), 200(packets)" in text
        rig.counters.close()

    run(body)
