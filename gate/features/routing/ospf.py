# SPDX-License-Identifier: BSD-3-Clause
"""OSPFv2 and OSPFv3 as FRR writes them."""

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sluice.features.routing.lines import Line
from sluice.mgmt.error import ConfigError

# (YANG's leaf, the value that FRR doesn't write)
TIMERS = (
    ("cost", None),
    ("dead-interval", 40),
    ("hello-interval", 10),
    ("priority", 1),
    ("retransmit-interval", 5),
    ("transmit-delay", 1),
)
REFERENCE_BANDWIDTH = 100_000
MAXIMUM_PATHS = 256
TYPE = {"type-1": "1", "type-2": "2"}


@dataclass(frozen=True)
class Version:
    daemon: str
    router: str
    router_id: str
    interface: str
    protocols: dict[str, str]


V2 = Version("ospfd", "router ospf", "ospf router-id", "ip ospf", {"ospfv3": "", "ripng": ""})
V3 = Version("ospf6d", "router ospf6", "ospf6 router-id", "ipv6 ospf6", {"ospf": "", "rip": ""})


def area_number(text: str) -> int:
    return int(ipaddress.IPv4Address(text)) if "." in text else int(text)


def check(path: str, value: dict[str, Any], version: Version) -> None:
    """What the model can't say."""
    seen: dict[int, str] = {}
    for area in value.get("area", []):
        number, at = area_number(area["area-id"]), f"{path}/area[area-id='{area['area-id']}']"
        if number in seen:
            raise ConfigError(
                f"{area['area-id']} and {seen[number]} are the same area",
                tag="invalid-value",
                path=at,
            )
        seen[number] = area["area-id"]
        for given in area.get("range", []):
            if (":" in given["prefix"]) != (version is V3):
                raise ConfigError(
                    "a prefix of the other IP version",
                    tag="invalid-value",
                    path=f"{at}/range[prefix='{given['prefix']}']",
                )
    for given in value.get("redistribute", []):
        if given["protocol"] == version.router.removeprefix("router ").replace("ospf6", "ospfv3"):
            raise ConfigError(
                "its own routes are announced anyway",
                tag="invalid-value",
                path=f"{path}/redistribute[protocol='{given['protocol']}']",
            )
        if given["protocol"] in version.protocols:
            raise ConfigError(
                f"{given['protocol']} has routes of the other IP version",
                tag="invalid-value",
                path=f"{path}/redistribute[protocol='{given['protocol']}']",
            )


def render(value: dict[str, Any], version: Version) -> list[Line]:
    who = (version.daemon,)
    router = Line(version.router, who=who, inner=tuple(router_lines(value, version)))
    found = [router]
    for area in value.get("area", []):
        for interface in area.get("interface", []):
            at = f"/area[area-id='{area['area-id']}']/interface[name='{interface['name']}']"
            inner = tuple(interface_lines(interface, area["area-id"], version, at))
            found.append(
                Line(f"interface {interface['name']}", undo="", at=at, who=who, inner=inner)
            )
    return found


def router_lines(value: dict[str, Any], version: Version) -> Iterator[Line]:
    if "router-id" in value:
        key = version.router_id
        yield Line(f"{key} {value['router-id']}", key=key, undo=f"no {key}", at="/router-id")
    if value["reference-bandwidth"] != REFERENCE_BANDWIDTH:
        key = "auto-cost reference-bandwidth"
        text = f"{key} {value['reference-bandwidth']}"
        yield Line(text, key=key, undo=f"no {key}", at="/reference-bandwidth")
    if value["maximum-paths"] != MAXIMUM_PATHS:
        key = "maximum-paths"
        yield Line(
            f"{key} {value['maximum-paths']}", key=key, undo=f"no {key}", at="/maximum-paths"
        )
    for given in value.get("redistribute", []):
        word = {"ospfv3": "ospf6"}.get(given["protocol"], given["protocol"])
        key = f"redistribute {word}"
        at = f"/redistribute[protocol='{given['protocol']}']"
        yield Line(key + external(given), key=key, undo=f"no {key}", at=at, fresh=True)
    for area in value.get("area", []):
        yield from area_lines(area)
    if "default-information" in value:
        given = value["default-information"]
        key = "default-information originate"
        text = key + (" always" if given["always"] else "") + external(given)
        yield Line(text, key=key, undo=f"no {key}", at="/default-information", fresh=True)


def external(given: dict[str, Any]) -> str:
    text = f" metric {given['metric']}" if "metric" in given else ""
    if given["metric-type"] != "type-2":
        text += f" metric-type {TYPE[given['metric-type']]}"
    if "route-map" in given:
        text += f" route-map {given['route-map']}"
    return text


def area_lines(area: dict[str, Any]) -> Iterator[Line]:
    start = f"area {area['area-id']}"
    at = f"/area[area-id='{area['area-id']}']"
    for given in area.get("range", []):
        key = f"{start} range {given['prefix']}"
        where = f"{at}/range[prefix='{given['prefix']}']"
        text = key + ("" if given["advertise"] else " not-advertise")
        yield Line(text, key=key, undo=f"no {text}", at=where, fresh=True)
    kind = area["area-type"]
    if kind != "normal":
        text = f"{start} {kind}" + ("" if area["summary"] else " no-summary")
        # Another kind of area, or a summary, needs the old one's end.
        yield Line(
            text, key=f"{start} kind", undo=f"no {start} {kind}", at=f"{at}/area-type", fresh=True
        )
    if area.get("default-cost", 1) != 1:
        key = f"{start} default-cost"
        text = f"{key} {area['default-cost']}"
        yield Line(text, key=key, head=f"{start} kind", at=f"{at}/default-cost")


def interface_lines(given: dict[str, Any], area: str, version: Version, at: str) -> Iterator[Line]:
    start = version.interface
    for leaf, default in TIMERS:
        if leaf in given and given[leaf] != default:
            key = f"{start} {leaf}"
            yield Line(f"{key} {given[leaf]}", key=key, undo=f"no {key}", at=f"{at}/{leaf}")
    if "interface-type" in given:
        key = f"{start} network"
        text = f"{key} {given['interface-type']}"
        yield Line(text, key=key, undo=f"no {key}", at=f"{at}/interface-type")
    for leaf in ("passive", "mtu-ignore"):
        if given[leaf]:
            yield Line(f"{start} {leaf}", at=f"{at}/{leaf}")
    if "bfd" in given:
        yield Line(f"{start} bfd", at=f"{at}/bfd")
        if "profile" in given["bfd"]:
            key = f"{start} bfd profile"
            text = f"{key} {given['bfd']['profile']}"
            yield Line(text, key=key, undo=f"no {key}", at=f"{at}/bfd/profile", head=f"{start} bfd")
    yield from authentication_lines(given, start, f"{at}/authentication")
    # Last: OSPF begins with it, and would wait for a designated router as long as the dead-interval is at that moment.
    key = f"{start} area"
    yield Line(f"{key} {area}", key=key, undo=f"no {key} {area}", at=at, fresh=True)


def authentication_lines(given: dict[str, Any], start: str, where: str) -> Iterator[Line]:
    authentication = given.get("authentication")
    if authentication is None:
        return
    key, undo = f"{start} authentication", f"no {start} authentication"
    if "md5-key" in authentication:
        yield Line(f"{key} message-digest", key=key, undo=undo, at=where)
        number = f"{start} message-digest-key {authentication['key-id']}"
        text = f"{number} md5 {authentication['md5-key']}"
        yield Line(text, key=number, undo=f"no {number}", at=f"{where}/md5-key", fresh=True)
    else:
        yield Line(key, key=key, undo=undo, at=where)
        key = f"{start} authentication-key"
        text = f"{key} {authentication['password']}"
        yield Line(text, key=key, undo=f"no {key}", at=f"{where}/password")
