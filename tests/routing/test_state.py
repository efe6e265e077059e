"""What FRR says, recorded from 10.3, as state that the models take."""

import asyncio
import json
from typing import Any

import pytest
from sluice.features.routing import state
from sluice.features.routing.frr import Instance

from tests.routing.test_render import schema

OSPF = {
    "neighbors": {
        "10.255.0.2": [
            {
                "nbrState": "Full/Backup",
                "nbrPriority": 1,
                "upTimeInMsec": 28247,
                "routerDeadIntervalTimerDueMsec": 3142,
                "ifaceAddress": "192.0.2.2",
                "ifaceName": "eth0:192.0.2.1",
            }
        ]
    }
}
OSPFV3 = {
    "neighbors": [
        {
            "neighborId": "10.255.0.2",
            "priority": 1,
            "deadTime": "00:00:03",
            "state": "Twoway",
            "ifState": "DROther",
            "interfaceName": "eth0",
        }
    ]
}
PEER = {
    "remoteAs": 65002,
    "msgRcvd": 6,
    "msgSent": 7,
    "peerUptimeMsec": 36000,
    "pfxRcd": 2,
    "pfxSnt": 3,
    "connectionsEstablished": 1,
}
BGP = {
    "ipv4Unicast": {
        "routerId": "10.9.1.1",
        "as": 65001,
        "peers": {
            "eth0": PEER | {"state": "Established"},
            "192.0.2.2": PEER | {"state": "Idle (Admin)"},
        },
    },
    "ipv6Unicast": {
        "routerId": "10.9.1.1",
        "as": 65001,
        "peers": {"eth0": PEER | {"state": "Established"}},
    },
}
BFD = [
    {
        "multihop": False,
        "peer": "192.0.2.2",
        "local": "192.0.2.1",
        "vrf": "default",
        "interface": "eth0",
        "id": 1542675768,
        "remote-id": 1136932031,
        "status": "up",
        "uptime": 36,
        "diagnostic": "ok",
        "receive-interval": 300,
        "transmit-interval": 300,
        "detect-multiplier": 3,
    },
    {"multihop": False, "peer": "2001:db8::9", "id": 7, "status": "shutdown", "downtime": 3},
]
RIP = """
    Interface        Send  Recv   Key-chain
    eth0             2     1 2
  Routing for Networks:
    eth0
  Routing Information Sources:
    Gateway          BadPackets BadRoutes  Distance Last Update
    192.0.2.2                 0         3       120    00:01:06
  Distance: (default is 120)
"""
RIPNG = """
  Routing Information Sources:
    Gateway          BadPackets BadRoutes  Distance Last Update
    fe80::1c3e:9ff:fe29:82d4
                        0          0        120      00:00:05
"""
SAID: dict[str, Any] = {
    "ip ospf": {"routerId": "10.255.0.1"},
    "ip ospf neighbor": OSPF,
    "ipv6 ospf6": {"routerId": "10.255.0.1"},
    "ipv6 ospf6 neighbor": OSPFV3,
    "bgp summary": BGP,
    "bfd peers": BFD,
    "ip rip status": RIP,
    "ipv6 ripng status": RIPNG,
}
WANTED: dict[str, Any] = {
    "sluice-ospf:ospf-state": {
        "router-id": "10.255.0.1",
        "neighbor": [
            {
                "interface": "eth0",
                "neighbor-id": "10.255.0.2",
                "address": "192.0.2.2",
                "state": "full",
                "role": "Backup",
                "priority": 1,
                "uptime": 28,
                "dead-time": 3142,
            }
        ],
    },
    "sluice-ospf:ospfv3-state": {
        "router-id": "10.255.0.1",
        "neighbor": [
            {
                "interface": "eth0",
                "neighbor-id": "10.255.0.2",
                "state": "2-way",
                "role": "DROther",
                "priority": 1,
            }
        ],
    },
    "sluice-rip:rip-state": {
        "neighbor": [{"address": "192.0.2.2", "last-update": 66, "bad-packets": 0, "bad-routes": 3}]
    },
    "sluice-rip:ripng-state": {
        "neighbor": [
            {
                "address": "fe80::1c3e:9ff:fe29:82d4",
                "last-update": 5,
                "bad-packets": 0,
                "bad-routes": 0,
            }
        ]
    },
}


class Recorded(Instance):
    """FRR that says what it once said."""

    said: Any = SAID

    async def show(self, command: str) -> Any:
        return self.said.get(command)

    async def show_text(self, command: str) -> str:
        return str(self.said.get(command, ""))

    def runs(self, daemon: str) -> bool:
        return True


class Silent(Recorded):
    said: Any = {}


def read(monkeypatch: pytest.MonkeyPatch, frr: type[Instance]) -> dict[str, Any]:
    """All of routing's state, as the models print it."""
    monkeypatch.setattr(state, "Instance", frr)
    tree = schema().empty()
    for provider in state.STATES:
        value = asyncio.run(provider.read())
        tree.merge(schema().parse(json.dumps(value), state=True))
    found = json.loads(tree.print() or "{}").get("sluice-vrf:vrf", [{}])
    result: dict[str, Any] = found[0].get("sluice-route:routing", {})
    return result


def test_what_frr_says_as_state(monkeypatch: pytest.MonkeyPatch) -> None:
    found = read(monkeypatch, Recorded)
    for node, value in WANTED.items():
        assert found[node] == value
    bgp = found["sluice-bgp:bgp-state"]
    assert (bgp["as"], bgp["router-id"]) == (65001, "10.9.1.1")
    states = {one["peer"]: (one["state"], len(one["family"])) for one in bgp["neighbor"]}
    assert states == {"eth0": ("established", 2), "192.0.2.2": ("idle", 1)}
    sessions = found["sluice-bfd:bfd-state"]["session"]
    assert [(one["address"], one["state"]) for one in sessions] == [
        ("192.0.2.2", "up"),
        ("2001:db8::9", "adm-down"),
    ]


def test_an_frr_that_says_nothing_has_no_state(monkeypatch: pytest.MonkeyPatch) -> None:
    assert read(monkeypatch, Silent) == {}
