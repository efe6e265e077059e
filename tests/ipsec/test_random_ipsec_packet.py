# SPDX-License-Identifier: BSD-3-Clause
"""Random damage: whatever comes in, nothing leaks and nothing is read that isn't the packet (ASan watches)."""

import os
import random

import pytest
from _sluice import lib

from tests.ipsec.ciphers import SUITES, Suite
from tests.ipsec.tunnels import coming, from_lan, from_wan, plain, tunnel
from tests.packet.harness import Port, Router

pytestmark = pytest.mark.packet

SEED = int(os.environ.get("SLUICE_SEED", "1"))
COUNT = int(os.environ.get("SLUICE_COUNT", "600"))


def damaged(rng: random.Random, frame: bytes) -> bytes:
    """Another frame: bits turned, cut, lengthened, or right inside a wrong length."""
    found = bytearray(frame)
    for _ in range(rng.randrange(4)):
        found[rng.randrange(14, len(found))] ^= 1 << rng.randrange(8)
    match rng.randrange(4):
        case 0:
            del found[rng.randrange(15, len(found)) :]
        case 1:
            found += rng.randbytes(rng.randrange(1, 40))
        case 2:
            at = 14 + (2 if found[14] >> 4 == 4 else 4)
            found[at : at + 2] = rng.randrange(len(found) + 20).to_bytes(2)
    return bytes(found)


@pytest.mark.parametrize("suite", SUITES[::3], ids=lambda suite: suite.name)
def test_damaged_packets_end_exactly_once(
    router: Router, lan: Port, wan: Port, suite: Suite
) -> None:
    rng = random.Random(f"{SEED} {suite}")
    for esn in (False, True):
        tunnel(router, suite, flags=lib.FPC_IPSEC_ESN if esn else 0, replay_window=0)
        for i in range(COUNT // 60):
            frames = []
            for j in range(8):
                packet = plain(back=True, size=rng.randrange(200))
                frames.append(damaged(rng, from_wan(coming(suite, packet, 8 * i + j + 1, esn=esn))))
            router.burst(wan.number, frames)
            frames = [damaged(rng, from_lan(plain(size=rng.randrange(200)))) for _ in range(8)]
            router.burst(lan.number, frames)
            assert router.buffers_in_use() == 0


@pytest.mark.parametrize("text", [16, 40, 64])
def test_random_text_with_a_right_icv(router: Router, lan: Port, wan: Port, text: int) -> None:
    """What only somebody with the key could send."""
    rng = random.Random(f"{SEED} {text}")
    tunnel(router, replay_window=0)
    suite = SUITES[0]
    for i in range(COUNT // 4):
        body = bytearray(rng.randbytes(text))
        body[0] = rng.choice((0x45, 0x46, 0x4F, 0x60, body[0]))
        body[-2] = rng.choice((0, 1, 2, text - 2, body[-2]))
        body[-1] = rng.choice((4, 41, 17, 59))
        frame = from_wan(coming(suite, plain(back=True), 1))[:34]
        esp = suite.seal(0x2000, i + 1, bytes(8), bytes(body))
        frame = (
            frame[:16] + (20 + len(esp)).to_bytes(2) + frame[18:24] + bytes(2) + frame[26:] + esp
        )
        total = sum(int.from_bytes(frame[at : at + 2]) for at in range(14, 34, 2))
        total = (total & 0xFFFF) + (total >> 16)
        frame = frame[:24] + (0xFFFF - total).to_bytes(2) + frame[26:]
        router.burst(wan.number, [frame])
        assert router.buffers_in_use() == 0
    assert router.counters()["ipsec_in_state_proto_error"] > 0
