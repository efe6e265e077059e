# SPDX-License-Identifier: BSD-3-Clause
"""Static routes, in batches of Netlink messages made here: pyroute2 would take ten times as long for thousands."""

import socket
import struct
from pathlib import Path
from typing import Any, ClassVar

from sluice.mgmt import kernel
from sluice.mgmt.error import ConfigError
from sluice.mgmt.feature import Applier, Entry, Feature, Watch
from sluice.mgmt.kernel import Batch, attribute

LIST = "/sluice-vrf:vrf/sluice-route:routing/static/"
RTM_NEWROUTE, RTM_DELROUTE = 24, 25
NLM_F_REPLACE, NLM_F_CREATE = 0x100, 0x400
RTPROT_STATIC = 4
RT_TABLE_MAIN = 254
RTN_UNICAST = 1
SPECIAL = {"blackhole": 6, "unreachable": 7, "prohibit": 8}
RTA_DST, RTA_OIF, RTA_GATEWAY, RTA_PRIORITY, RTA_MULTIPATH = 1, 4, 5, 6, 9
RTMSG = struct.Struct("=BBBBBBBBI")
RTNH = struct.Struct("=HBBi")
UNIVERSE, LINK = 0, 253


class Routes(Applier):
    name: ClassVar[str] = "static routes"
    order: ClassVar[int] = 60
    again = ("interface", "vrf")
    watches = (Watch(LIST + "ipv4-route"), Watch(LIST + "ipv6-route"))

    async def verify(self, entries: list[Entry]) -> None:
        for entry in entries:
            hops = (entry.new or {}).get("next-hop", [])
            if len(hops) > 1 and any(hop["hop"] in SPECIAL for hop in hops):
                raise ConfigError(
                    f"{', '.join(SPECIAL)} stand alone", tag="invalid-value", path=entry.path
                )

    async def remove(self, entries: list[Entry]) -> None:
        for vrf, some in by_vrf(entries).items():
            # Gone with its namespace.
            if kernel.exists(vrf):
                work = [(entry, request(entry, entry.old or {}, {}, delete=True)) for entry in some]
                send(vrf, work, gone=True)

    async def apply(self, entries: list[Entry]) -> None:
        for vrf, some in by_vrf(entries).items():
            names = None
            stale, work = [], []
            for entry in some:
                old, new = entry.old, entry.new or {}
                # Another metric is another route to Linux.
                if old is not None and old["metric"] != new["metric"]:
                    stale.append((entry, request(entry, old, {}, delete=True)))
                if names is None and needs_names(new):
                    names = kernel.indexes(vrf)
                work.append((entry, request(entry, new, names or {})))
            if stale:
                send(vrf, stale, gone=True)
            send(vrf, work)


def by_vrf(entries: list[Entry]) -> dict[str, list[Entry]]:
    found: dict[str, list[Entry]] = {}
    for entry in entries:
        found.setdefault(entry.keys[0], []).append(entry)
    return found


def needs_names(value: dict[str, Any]) -> bool:
    """Whether a next hop names an interface."""
    return any(
        "interface" in hop or (hop["hop"] not in SPECIAL and not is_address(hop["hop"]))
        for hop in value["next-hop"]
    )


def is_address(text: str) -> bool:
    return ":" in text or text.replace(".", "").isdigit()


def send(vrf: str, work: list[tuple[Entry, tuple[int, int, bytes]]], *, gone: bool = False) -> None:
    """Send requests; `gone`: what isn't there any more is fine."""
    batch = Batch(vrf)
    try:
        failed = batch.run([message for _, message in work])
    finally:
        batch.close()
    for index, (code, text) in failed.items():
        if not (gone and code in kernel.GONE):
            entry = work[index][0]
            raise ConfigError(f"Linux refuses the route {entry.keys[-1]}: {text}", path=entry.path)


def request(
    entry: Entry, value: dict[str, Any], names: dict[str, int], *, delete: bool = False
) -> tuple[int, int, bytes]:
    """The message for a route: (type, flags, body)."""
    prefix, _, length = entry.keys[-1].partition("/")
    family = socket.AF_INET if entry.schema.endswith("ipv4-route") else socket.AF_INET6
    attributes = attribute(RTA_DST, socket.inet_pton(family, prefix))
    if value["metric"]:
        attributes += attribute(RTA_PRIORITY, struct.pack("=I", value["metric"]))
    if delete:
        head = RTMSG.pack(family, int(length), 0, 0, RT_TABLE_MAIN, RTPROT_STATIC, 255, 0, 0)
        return RTM_DELROUTE, 0, head + attributes
    hops = value["next-hop"]
    kind, scope = RTN_UNICAST, UNIVERSE
    if len(hops) == 1 and hops[0]["hop"] in SPECIAL:
        kind = SPECIAL[hops[0]["hop"]]
    elif len(hops) == 1:
        index, gateway = hop_of(entry, family, hops[0], names)
        if index:
            attributes += attribute(RTA_OIF, struct.pack("=I", index))
        if gateway:
            attributes += attribute(RTA_GATEWAY, gateway)
        elif family == socket.AF_INET:
            scope = LINK
    else:
        several = b""
        for hop in hops:
            index, gateway = hop_of(entry, family, hop, names)
            inner = attribute(RTA_GATEWAY, gateway) if gateway else b""
            several += RTNH.pack(RTNH.size + len(inner), 0, hop["weight"] - 1, index) + inner
        attributes += attribute(RTA_MULTIPATH, several)
    head = RTMSG.pack(family, int(length), 0, 0, RT_TABLE_MAIN, RTPROT_STATIC, scope, kind, 0)
    return RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, head + attributes


def hop_of(
    entry: Entry, family: int, hop: dict[str, Any], names: dict[str, int]
) -> tuple[int, bytes]:
    """Interface number (0: Linux finds it) and gateway (empty: none)."""
    text = hop["hop"]
    gateway = socket.inet_pton(family, text) if is_address(text) else b""
    name = hop.get("interface") or ("" if gateway else text)
    if not name:
        return 0, gateway
    if name not in names:
        raise ConfigError(
            f"there's no interface {name} in {entry.keys[0]}", tag="data-missing", path=entry.path
        )
    return names[name], gateway


FEATURE = Feature(
    name="route",
    models=(Path(__file__).parent / "sluice-route.yang",),
    appliers=(Routes(),),
)
