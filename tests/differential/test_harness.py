"""The harness itself: it must see what differs, and only that. No root, no fast path."""

import pytest

from tests.differential.harness import background, batch, compare, normal, world
from tests.lib.generate import IPV4, IPV6, KINDS4, KINDS6, frames
from tests.lib.packets import ether, ipv4, ipv6, udp_frame
from tests.lib.rig import LEFT, RIGHT

A, B = (LEFT.port_mac, "192.0.2.2"), (LEFT.host_mac, "198.51.100.2")


def wires(*frames: bytes) -> dict[str, list[bytes]]:
    return {"left": [], "right": list(frames)}


def test_equal_frames_in_any_order_are_equal() -> None:
    one, two = udp_frame(A, B, b"one"), udp_frame(A, B, b"two")
    assert not compare(wires(one, two, two), wires(two, one, two))


@pytest.mark.parametrize("change", ["missing", "twice", "one bit", "another wire", "longer"])
def test_every_difference_is_seen(change: str) -> None:
    one, two = udp_frame(A, B, b"one" * 20), udp_frame(A, B, b"two" * 20)
    other = {
        "missing": wires(one),
        "twice": wires(one, two, two),
        "one bit": wires(one, two[:-1] + bytes([two[-1] ^ 1])),
        "another wire": {"left": [two], "right": [one]},
        "longer": wires(one, two + b"x"),
    }[change]
    difference = compare(wires(one, two), other)
    assert difference
    assert "sent on" in str(difference)


def test_padding_to_the_minimum_is_no_difference_but_what_stands_in_it_is() -> None:
    frame = (
        bytes.fromhex("020000000202020000000201")
        + b"\x08\x00"
        + ipv4("192.0.2.2", "198.51.100.2", b"x")
    )
    assert normal(frame) == normal(frame.ljust(60, b"\0"))
    assert normal(frame) != normal(frame.ljust(60, b"\1"))


def test_the_id_of_linuxs_own_icmp_is_ignored_and_that_of_forwarded_packets_is_not() -> None:
    def frame(protocol: int, payload: bytes, identification: int) -> bytes:
        packet = ipv4(
            "192.0.2.1",
            "192.0.2.2",
            payload,
            protocol=protocol,
            identification=identification,
        )
        return ether(LEFT.port_mac, LEFT.host_mac, packet, kind=0x0800)

    error = b"\x0b\0" + bytes(30)
    assert normal(frame(1, error, 1)) == normal(frame(1, error, 2))
    assert normal(frame(1, b"\x08\0" + bytes(30), 1)) != normal(frame(1, b"\x08\0" + bytes(30), 2))
    assert normal(frame(17, bytes(30), 1)) != normal(frame(17, bytes(30), 2))


def test_neighbour_discovery_is_background_and_other_icmpv6_is_not() -> None:
    def frame(kind: int) -> bytes:
        packet = ipv6("2001:db8::1", "2001:db8::2", bytes([kind]) + bytes(31), protocol=58)
        return ether(LEFT.port_mac, LEFT.host_mac, packet, kind=0x86DD)

    assert [background(frame(kind)) for kind in (128, 129, 1, 2, 3, 4)] == [False] * 6
    assert all(background(frame(kind)) for kind in (133, 134, 135, 136, 137))
    assert background(ether(LEFT.port_mac, LEFT.host_mac, bytes(28), kind=0x0806))


@pytest.mark.parametrize("family", [IPV4, IPV6])
def test_a_seed_gives_the_same_frames_one_by_one_or_all_at_once(family: int) -> None:
    all_at_once = list(frames(world(LEFT), family, 7, 300))
    assert all_at_once == list(frames(world(LEFT), family, 7, 300))
    assert all_at_once[123] == next(frames(world(LEFT), family, 7, 1, start=123))
    assert all_at_once != list(frames(world(LEFT), family, 8, 300))
    kinds = KINDS4 if family == IPV4 else KINDS6
    many = {made.what for made in frames(world(RIGHT), family, 7, 2000)}
    assert many == set(kinds), "every kind comes up"


@pytest.mark.parametrize("family", [IPV4, IPV6])
def test_a_batch_comes_from_both_sides_and_fits_the_wire(family: int) -> None:
    made = batch(family, 3, 0, 200)
    assert [wire for wire, _ in made[:4]] == ["left", "right", "left", "right"]
    assert all(15 <= len(one.frame) <= 1514 + 40 for _, one in made)
