# SPDX-License-Identifier: BSD-3-Clause
"""What FRR does, as state: each provider asks one daemon in each VRF where it runs."""

from collections.abc import Awaitable, Callable
from typing import Any

from sluice.features.routing.frr import Instance
from sluice.mgmt import kernel
from sluice.mgmt.feature import State

ROUTING = "/sluice-vrf:vrf/sluice-route:routing/"
Read = Callable[[Instance], Awaitable[dict[str, Any]]]


def provider(node: str, daemon: str, read: Read) -> State:
    """State of the container `node` ("module:name"), which `read` gives for an instance whose daemon runs."""

    async def state() -> dict[str, Any]:
        found = []
        for vrf in sorted(kernel.vrfs):
            frr = Instance(vrf)
            if frr.runs(daemon):
                value = await read(frr)
                if value:
                    found.append({"name": vrf, "sluice-route:routing": {node: value}})
        return {"sluice-vrf:vrf": found} if found else {}

    return State(ROUTING + node, state)


def given(values: dict[str, Any]) -> dict[str, Any]:
    """Without what FRR didn't say."""
    return {key: value for key, value in values.items() if value not in (None, "", [])}


async def ospf(frr: Instance) -> dict[str, Any]:
    general = await frr.show("ip ospf") or {}
    answer = await frr.show("ip ospf neighbor") or {}
    return given(
        {
            "router-id": general.get("routerId"),
            "neighbor": [
                ospf_neighbor(router, one)
                for router, several in answer.get("neighbors", {}).items()
                for one in several
            ],
        }
    )


def ospf_neighbor(router: str, one: dict[str, Any]) -> dict[str, Any]:
    state, _, role = str(one.get("nbrState", "")).partition("/")
    return given(
        {
            # "eth0:192.0.2.1": the interface and its address
            "interface": str(one.get("ifaceName", "")).partition(":")[0],
            "neighbor-id": router,
            "address": one.get("ifaceAddress"),
            "state": state.lower(),
            "role": role.strip("-"),
            "priority": one.get("nbrPriority"),
            "uptime": int(one.get("upTimeInMsec", 0)) // 1000,
            "dead-time": max(int(one.get("routerDeadIntervalTimerDueMsec", 0)), 0),
        }
    )


async def ospfv3(frr: Instance) -> dict[str, Any]:
    general = await frr.show("ipv6 ospf6") or {}
    answer = await frr.show("ipv6 ospf6 neighbor") or {}
    return given(
        {
            "router-id": general.get("routerId"),
            "neighbor": [
                given(
                    {
                        "interface": one.get("interfaceName"),
                        "neighbor-id": one.get("neighborId"),
                        "state": str(one.get("state", "")).lower().replace("twoway", "2-way"),
                        "role": one.get("ifState"),
                        "priority": one.get("priority"),
                    }
                )
                for one in answer.get("neighbors", [])
            ],
        }
    )


FAMILIES = {"ipv4Unicast": "ipv4-unicast", "ipv6Unicast": "ipv6-unicast"}


async def bgp(frr: Instance) -> dict[str, Any]:
    answer = await frr.show("bgp summary") or {}
    result: dict[str, Any] = {}
    neighbors: dict[str, dict[str, Any]] = {}
    for theirs, ours in FAMILIES.items():
        summary = answer.get(theirs)
        if not summary:
            continue
        result |= {"as": summary.get("as"), "router-id": summary.get("routerId")}
        for peer, one in summary.get("peers", {}).items():
            neighbor = neighbors.setdefault(peer, bgp_neighbor(peer, one))
            neighbor["family"].append(
                given(
                    {
                        "name": ours,
                        "prefixes-received": one.get("pfxRcd"),
                        "prefixes-sent": one.get("pfxSnt"),
                    }
                )
            )
    return given(result | {"neighbor": list(neighbors.values())})


STATES_OF_BGP = {"idle", "connect", "active", "opensent", "openconfirm", "established"}


def bgp_neighbor(peer: str, one: dict[str, Any]) -> dict[str, Any]:
    # "Idle (Admin)", "Idle (PfxCt)"
    state = str(one.get("state", "")).lower().partition(" ")[0]
    return given(
        {
            "peer": peer,
            "remote-as": one.get("remoteAs"),
            "state": state if state in STATES_OF_BGP else None,
            "uptime": int(one.get("peerUptimeMsec", 0)) // 1000,
            "messages-received": one.get("msgRcvd"),
            "messages-sent": one.get("msgSent"),
            "times-established": one.get("connectionsEstablished"),
        }
    ) | {"family": []}


async def bfd(frr: Instance) -> dict[str, Any]:
    answer = await frr.show("bfd peers") or []
    return given({"session": [bfd_session(one) for one in answer]})


def bfd_session(one: dict[str, Any]) -> dict[str, Any]:
    status = str(one.get("status", ""))
    return given(
        {
            "local-discriminator": one.get("id"),
            "remote-discriminator": one.get("remote-id"),
            "address": one.get("peer"),
            "local-address": one.get("local"),
            "interface": one.get("interface"),
            "multihop": one.get("multihop"),
            "state": {"shutdown": "adm-down"}.get(status, status),
            "uptime": one.get("uptime"),
            "diagnostic": one.get("diagnostic"),
            "detect-multiplier": one.get("detect-multiplier"),
            "receive-interval": one.get("receive-interval"),
            "transmit-interval": one.get("transmit-interval"),
        }
    )


async def rip(frr: Instance) -> dict[str, Any]:
    return given({"neighbor": rip_neighbors(await frr.show_text("ip rip status"))})


async def ripng(frr: Instance) -> dict[str, Any]:
    return given({"neighbor": rip_neighbors(await frr.show_text("ipv6 ripng status"))})


def rip_neighbors(text: str) -> list[dict[str, Any]]:
    """The end of `show ip rip status`, which has no JSON. A long address has a line of its own.

    mgmtd could give it too, but FRR 10.3's ripd was seen to die of `show mgmt get-data`.
    """
    words = text.partition("Last Update")[2].partition("Distance:")[0].split()
    found = []
    for at in range(0, len(words) - 4, 5):
        address, packets, routes, _, time = words[at : at + 5]
        if not (packets.isdigit() and routes.isdigit()):
            break
        found.append(
            {
                "address": address,
                "last-update": seconds(time),
                "bad-packets": int(packets),
                "bad-routes": int(routes),
            }
        )
    return found


def seconds(time: str) -> int:
    """FRR's hours:minutes:seconds."""
    total = 0
    for part in time.split(":"):
        if not part.isdigit():
            return 0
        total = total * 60 + int(part)
    return total


STATES = (
    provider("sluice-ospf:ospf-state", "ospfd", ospf),
    provider("sluice-ospf:ospfv3-state", "ospf6d", ospfv3),
    provider("sluice-bgp:bgp-state", "bgpd", bgp),
    provider("sluice-rip:rip-state", "ripd", rip),
    provider("sluice-rip:ripng-state", "ripngd", ripng),
    provider("sluice-bfd:bfd-state", "bfdd", bfd),
)
