"""A session without a server: the real models, and a configuration that stands still."""

import json
from functools import cache
from typing import Any

from sluice.mgmt.app import load_models
from sluice.mgmt.feature import discover
from sluice.mgmt.yang import Schema, Tree
from sluice.shell.client import Target
from sluice.shell.place import Place
from sluice.shell.world import World

from tests.mgmt.rig import World as Rig
from tests.mgmt.rig import feature

CONFIG: dict[str, Any] = {
    "sluice-vrf:vrf": [
        {
            "name": "main",
            "sluice-iface:interface": {
                "physical": [
                    {"name": "eth0", "mtu": 1400, "ipv4": {"address": [{"ip": "192.0.2.1/24"}]}},
                    {"name": "eth1", "description": "to the 'left' | right; # {x}"},
                ]
            },
            "sluice-route:routing": {
                "static": {
                    "ipv4-route": [
                        {
                            "prefix": "10.1.0.0/16",
                            "next-hop": [{"hop": "192.0.2.2", "weight": 3}, {"hop": "blackhole"}],
                        }
                    ]
                }
            },
        },
        {"name": "blue"},
    ]
}
STATE: dict[str, Any] = {
    "sluice-vrf:vrf": [
        {
            "name": "main",
            "sluice-iface:interface-state": {
                "interface": [
                    {"name": "eth0", "mtu": 1400, "statistics": {"in-pkts": "5"}},
                    {"name": "eth9", "address": ["192.0.2.9/24", "2001:db8::9/64"]},
                ]
            },
        },
        {
            "name": "blue",
            "sluice-iface:interface-state": {"interface": [{"name": "hidden"}]},
        },
    ]
}


@cache
def schema() -> Schema:
    return load_models([*discover(), feature(Rig())])


class Still(World):
    """What would be sent is kept in `sent`."""

    def __init__(self, *, editing: bool = True) -> None:
        super().__init__(Target())
        self.editing = editing
        self.sent: list[str] = []

    @property
    def schema(self) -> Schema:
        return schema()

    @property
    def connected(self) -> bool:
        return True

    def reachable(self) -> bool:
        return True

    def tree(self, source: str, place: Place | None = None) -> Tree:
        if source == "state":
            return schema().parse(json.dumps(STATE), state=True)
        return schema().parse(json.dumps(CONFIG))

    def _send(self, config: bytes) -> None:
        self.sent.append(config.decode())
        self.edited = True
