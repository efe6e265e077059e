# SPDX-License-Identifier: BSD-3-Clause
"""RIP and RIPng as FRR writes them. mgmtd keeps their configuration and passes it on."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sluice.features.routing.lines import Line
from sluice.mgmt.error import ConfigError

DAEMON = "mgmtd"


@dataclass(frozen=True)
class Version:
    name: str
    interface: str
    foreign: tuple[str, ...]  # protocols that have no routes for it


V4 = Version("rip", "ip rip", ("ospfv3", "ripng"))
V6 = Version("ripng", "ipv6 ripng", ("ospf", "rip"))
HORIZON = {"disabled": "no {} split-horizon", "poison-reverse": "{} split-horizon poisoned-reverse"}


def check(path: str, value: dict[str, Any], version: Version) -> None:
    """What the model can't say."""
    for given in value.get("redistribute", []):
        protocol = given["protocol"]
        if protocol in (*version.foreign, version.name):
            raise ConfigError(
                "its own routes are announced anyway"
                if protocol == version.name
                else f"{protocol} has routes of the other IP version",
                tag="invalid-value",
                path=f"{path}/redistribute[protocol='{protocol}']",
            )


def render(value: dict[str, Any], version: Version) -> list[Line]:
    who = (DAEMON,)
    found = [Line(f"router {version.name}", who=who, inner=tuple(router_lines(value)))]
    for interface in value.get("interface", []):
        at = f"/interface[name='{interface['name']}']"
        inner = tuple(interface_lines(interface, version.interface, at))
        found.append(Line(f"interface {interface['name']}", undo="", at=at, who=who, inner=inner))
    return found


def router_lines(value: dict[str, Any]) -> Iterator[Line]:
    if value["default-metric"] != 1:
        key = "default-metric"
        yield Line(f"{key} {value[key]}", key=key, undo=f"no {key}", at=f"/{key}")
    if value["originate-default-route"]:
        yield Line("default-information originate", at="/originate-default-route")
    for interface in value.get("interface", []):
        at = f"/interface[name='{interface['name']}']"
        yield Line(f"network {interface['name']}", at=at)
        if interface["passive"]:
            yield Line(f"passive-interface {interface['name']}", at=f"{at}/passive")
    for neighbor in value.get("neighbor", []):
        yield Line(f"neighbor {neighbor}", at=f"/neighbor[.='{neighbor}']")
    for given in value.get("redistribute", []):
        key = f"redistribute {'ospf6' if given['protocol'] == 'ospfv3' else given['protocol']}"
        text = key + "".join(
            f" {leaf} {given[leaf]}" for leaf in ("metric", "route-map") if leaf in given
        )
        at = f"/redistribute[protocol='{given['protocol']}']"
        yield Line(text, key=key, undo=f"no {key}", at=at, fresh=True)
    times = value.get("timers", {})
    all_ = tuple(
        times.get(f"{name}-interval", default)
        for name, default in (("update", 30), ("invalid", 180), ("flush", 120))
    )
    if all_ != (30, 180, 120):
        text = f"timers basic {all_[0]} {all_[1]} {all_[2]}"
        yield Line(text, key="timers basic", undo="no timers basic", at="/timers")


def interface_lines(given: dict[str, Any], start: str, at: str) -> Iterator[Line]:
    authentication = given.get("authentication")
    if authentication is not None:
        key = f"{start} authentication mode"
        where = f"{at}/authentication"
        yield Line(f"{key} {authentication['mode']}", key=key, undo=f"no {key}", at=where)
        key = f"{start} authentication string"
        text = f"{key} {authentication['password']}"
        yield Line(text, key=key, undo=f"no {key}", at=f"{where}/password")
    if given["split-horizon"] != "simple":
        text = HORIZON[given["split-horizon"]].format(start)
        # Both come back to simple this way: `no` would mean disabled.
        key = f"{start} split-horizon"
        yield Line(text, key=key, undo=key, at=f"{at}/split-horizon")
