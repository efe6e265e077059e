"""Bridges' forwarding entries, groups and VLANs, and multicast routes: handed to features that follow them."""

import asyncio
import socket
import struct
import subprocess
from typing import Any

import pytest
from sluice.cmgrd import wire
from sluice.cmgrd.core import Core
from sluice.cmgrd.feature import Feature
from sluice.cmgrd.kernel import (
    AF_INET,
    BridgeVlan,
    Change,
    Family,
    Fdb,
    Mdb,
    Message,
    MulticastRoute,
)

from tests.cmgrd.kernel import following, in_namespace, ip, settled_with
from tests.cmgrd.test_features import dumped, objects, settled

MAC = bytes.fromhex("020000000099")
GROUP = bytes([239, 1, 1, 1])


class Bridges(Feature):
    """What a feature of bridges would be told."""

    key_size = 4
    families = frozenset({Family.FDB, Family.MDB, Family.VLAN})

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.there: dict[Family, list[object]] = {family: [] for family in self.families}
        self.dumps = 0

    def begin(self, family: Family) -> None:
        self.there[family] = []

    def end(self, family: Family) -> None:
        self.dumps += 1

    def abandon(self, family: Family) -> None:
        pass

    def handle(self, message: Message, *, dumped: bool, late: bool) -> None:
        there = self.there[message.family]
        if message.change is Change.DELETED:
            self.there[message.family] = [one for one in there if not same(one, message.value)]
        elif message.value not in there:
            there.append(message.value)


def same(one: object, gone: object) -> bool:
    match one, gone:
        case Fdb(), Fdb():
            return (one.ifindex, one.mac, one.vlan) == (gone.ifindex, gone.mac, gone.vlan)
        case Mdb(), Mdb():
            return (one.port, one.group) == (gone.port, gone.group)
        case BridgeVlan(), BridgeVlan():
            return (one.ifindex, one.first) == (gone.ifindex, gone.first)
    return False


def bridge(*words: str) -> bool:
    """`bridge ...`; False: this kernel can't."""
    return subprocess.run(["bridge", *words], capture_output=True, check=False).returncode == 0


SETUP = [
    "link add br0 index 50 type bridge mcast_snooping 1",
    "link add p1 index 51 type veth peer name h1",
    "link set p1 master br0",
    "link set br0 up",
    "link set p1 up",
    "link set h1 up",
]


@pytest.mark.functional
def test_forwarding_entries_and_groups_come_and_go() -> None:
    async def run() -> None:
        ip(*SETUP)
        assert bridge("fdb", "add", "02:00:00:00:00:99", "dev", "p1", "master", "static")
        core = Core(more=[Bridges])
        feature = core.features[-1]
        assert isinstance(feature, Bridges)

        def fdb() -> list[Fdb]:
            return [
                one for one in feature.there[Family.FDB] if isinstance(one, Fdb) and one.mac == MAC
            ]

        async with following(core) as follower:
            assert [(one.ifindex, one.master, one.vlan) for one in fdb()] == [(51, 50, 0)]
            assert bridge("fdb", "del", "02:00:00:00:00:99", "dev", "p1", "master")
            await settled_with(follower, lambda: not fdb())
            assert bridge("fdb", "add", "02:00:00:00:00:99", "dev", "p1", "self")
            await settled_with(follower, lambda: [one.master for one in fdb()] == [0])
            if not bridge(
                "mdb", "add", "dev", "br0", "port", "p1", "grp", "239.1.1.1", "permanent"
            ):
                pytest.skip("this kernel's bridges have no multicast groups")
            group = Mdb(50, 51, 0, GROUP, True, 0)
            await settled_with(follower, lambda: group in feature.there[Family.MDB])
            # A dump tells the same.
            before = feature.dumps
            core.lose(feature.families, "test")
            follower.wake.set()
            await settled_with(follower, lambda: feature.dumps >= before + 3)
            assert group in feature.there[Family.MDB]
            assert [one.master for one in fdb()] == [0]
            assert bridge("mdb", "del", "dev", "br0", "port", "p1", "grp", "239.1.1.1")
            await settled_with(follower, lambda: group not in feature.there[Family.MDB])
            assert not core.counts["malformed"]

    in_namespace(run)


@pytest.mark.functional
def test_vlans_of_a_bridge_come_and_go() -> None:
    async def run() -> None:
        ip(*SETUP)
        if subprocess.run(
            ["ip", "link", "set", "br0", "type", "bridge", "vlan_filtering", "1"],
            capture_output=True,
            check=False,
        ).returncode:
            pytest.skip("this kernel's bridges have no VLANs")
        core = Core(more=[Bridges])
        feature = core.features[-1]
        assert isinstance(feature, Bridges)

        def has(first: int, last: int) -> bool:
            return any(
                isinstance(one, BridgeVlan)
                and (one.ifindex, one.first, one.last) == (51, first, last)
                for one in feature.there[Family.VLAN]
            )

        assert bridge("vlan", "add", "dev", "p1", "vid", "10-20")
        async with following(core) as follower:
            assert feature.there[Family.VLAN]
            assert bridge("vlan", "add", "dev", "p1", "vid", "100-110")
            await settled_with(follower, lambda: has(100, 110))
            assert not core.counts["malformed"]

    in_namespace(run)


@pytest.mark.functional
def test_nobody_is_asked_about_what_nobody_follows() -> None:
    async def run() -> None:
        ip(*SETUP)
        async with following() as follower:
            assert not {Family.FDB, Family.MDB, Family.VLAN} & follower.core.families
            assert not [one for one in follower.listeners if Family.MDB in one.channel.families]
            before = follower.core.counts["dumps"]
            assert bridge("fdb", "add", "02:00:00:00:00:99", "dev", "p1", "master", "static")
            await asyncio.sleep(0.1)
            assert follower.core.counts["dumps"] == before

    in_namespace(run)


def mroute(*, gone: bool = False, **changes: int) -> tuple[int, bytes]:
    """RTM_NEWROUTE or RTM_DELROUTE of RTNL_FAMILY_IPMR."""
    values = {"family": 128, "oif": 3, "hop": 8, **changes}
    head = struct.pack("=BBBBBBBBI", values["family"], 32, 32, 0, 253, 17, 0, 5, 0)
    attributes = b"".join(
        struct.pack("=HH", 4 + len(data), kind) + data
        for kind, data in (
            (1, GROUP),
            (2, bytes([192, 0, 2, 2])),
            (3, struct.pack("=I", 2)),
            (9, struct.pack("=HBBi", values["hop"], 0, 0, values["oif"])),
        )
    )
    return 25 if gone else 24, head + attributes


def test_multicast_routes_are_counted_and_shown() -> None:
    core = settled()
    kind, data = mroute()
    message = wire.decode(0, kind, 0, data, 0, len(data))
    assert message
    assert message.family is Family.MROUTE
    assert message.value == MulticastRoute(AF_INET, 253, bytes([192, 0, 2, 2]), GROUP, 2, (3,))
    core.message(0, kind, 0, data, 0, len(data), late=False)
    assert [(one["mroutes4"], one["mroutes6"]) for one in objects(core, "vrf")] == [(1, 0)]
    assert not objects(core, "route")
    kind, data = mroute(gone=True)
    core.message(0, kind, 0, data, 0, len(data), late=False)
    assert [one["mroutes4"] for one in objects(core, "vrf")] == [0]
    dumped(core, Family.MROUTE, message.value)
    assert [one["mroutes4"] for one in objects(core, "vrf")] == [1]
    dumped(core, Family.MROUTE)
    assert [one["mroutes4"] for one in objects(core, "vrf")] == [0]


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        mroute(hop=7),
        mroute(hop=9),
        (28, struct.pack("=BxxxiHBB", 7, 5, 2, 0, 0)),
        (84, b"\7"),
        (84, struct.pack("=BxxxIHHHHHHI", 7, 50, 16, 1, 12, 1, 8, 1, 51)),
        (112, struct.pack("=BxxxIHH", 7, 50, 4, 1)),
    ],
)
def test_what_is_cut_or_wrong_is_malformed_and_leads_to_a_dump(kind: int, data: bytes) -> None:
    core = Core(more=[Bridges])
    core.due = {}
    core.message(0, kind, 0, data, 0, len(data), late=False)
    assert core.counts["malformed"] == 1
    assert core.due


def test_groups_of_all_kinds_are_read() -> None:
    for kind, group in ((0x0800, GROUP), (0x86DD, b"\xff\x05" + bytes(14)), (0, MAC)):
        entry = struct.pack("=IBBH16sHxx", 51, 1, 0, 7, group, socket.htons(kind))
        info = struct.pack("=HH", 4 + len(entry), 1) + entry
        one = struct.pack("=HH", 4 + len(info), 1) + info
        two = struct.pack("=HH", 4 + 2 * len(one), 1) + one + one
        data = struct.pack("=BxxxI", 7, 50) + two
        found = wire.mdb(data, 0, len(data))
        assert found.values == (Mdb(50, 51, 7, group, True, 0),) * 2  # type: ignore[union-attr]
