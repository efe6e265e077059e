# SPDX-License-Identifier: BSD-3-Clause
"""BGP as FRR writes it."""

from collections.abc import Iterator
from typing import Any

from sluice.features.routing.lines import Line
from sluice.mgmt.error import ConfigError

DAEMON = "bgpd"
FAMILIES = {"ipv4-unicast": "ipv4 unicast", "ipv6-unicast": "ipv6 unicast"}
MAXIMUM_PATHS = 256
# Protocols that the family has no routes of.
FOREIGN = {"ipv4-unicast": ("ospfv3", "ripng"), "ipv6-unicast": ("ospf", "rip")}
PROTOCOLS = {"ospfv3": "ospf6"}
# (YANG's leaf, FRR's words before and after its value)
POLICIES = (
    ("prefix-list-in", "prefix-list", " in"),
    ("prefix-list-out", "prefix-list", " out"),
    ("route-map-in", "route-map", " in"),
    ("route-map-out", "route-map", " out"),
)
SWITCHES = (
    ("next-hop-self", "next-hop-self"),
    ("route-reflector-client", "route-reflector-client"),
    ("default-originate", "default-originate"),
    ("soft-reconfiguration-inbound", "soft-reconfiguration inbound"),
    ("remove-private-as", "remove-private-AS"),
)
# (YANG's leaf, FRR's words, the value it leaves out)
NUMBERS = (
    ("allow-own-as", "allowas-in", 3),
    ("maximum-prefixes", "maximum-prefix", None),
    ("weight", "weight", None),
)


def check(path: str, value: dict[str, Any]) -> None:
    """What the model can't say."""
    for family, foreign in FOREIGN.items():
        for given in value.get(family, {}).get("redistribute", []):
            if given["protocol"] in foreign:
                raise ConfigError(
                    f"{given['protocol']} has routes of the other IP version",
                    tag="invalid-value",
                    path=f"{path}/{family}/redistribute[protocol='{given['protocol']}']",
                )


def render(value: dict[str, Any]) -> list[Line]:
    inner = list(general(value))
    for neighbor in value.get("neighbor", []):
        inner += neighbor_lines(neighbor)
    for family, words in FAMILIES.items():
        lines = [*announced(value.get(family, {}), f"/{family}")]
        for neighbor in value.get("neighbor", []):
            if family in neighbor:
                lines += exchanged(neighbor, family)
        header = f"address-family {words}"
        inner.append(Line(header, undo="", inner=tuple(lines), end="exit-address-family"))
    return [Line(f"router bgp {value['as']}", who=(DAEMON,), inner=tuple(inner))]


def general(value: dict[str, Any]) -> Iterator[Line]:
    if "router-id" in value:
        key = "bgp router-id"
        yield Line(f"{key} {value['router-id']}", key=key, undo=f"no {key}", at="/router-id")
    if not value["ebgp-requires-policy"]:
        undo = "bgp ebgp-requires-policy"
        yield Line(f"no {undo}", undo=undo, at="/ebgp-requires-policy")
    # Each neighbour says itself what it exchanges.
    yield Line("no bgp default ipv4-unicast", undo="bgp default ipv4-unicast")
    if value["graceful-restart"]:
        yield Line("bgp graceful-restart", at="/graceful-restart")
    if value["multipath-relax"]:
        yield Line("bgp bestpath as-path multipath-relax", at="/multipath-relax")


def is_address(peer: str) -> bool:
    return ":" in peer or peer.replace(".", "").isdigit()


def neighbor_lines(given: dict[str, Any]) -> Iterator[Line]:
    start, at = where_of(given)
    if is_address(given["peer"]):
        text, undo = f"{start} remote-as {given['remote-as']}", f"no {start}"
    else:
        text = f"{start} interface v6only remote-as {given['remote-as']}"
        undo = f"no {start} interface"
    head = start
    yield Line(text, key=head, undo=undo, at=at, fresh=not is_address(given["peer"]))

    def line(words: str, leaf: str, said: Any = None, *, fresh: bool = False) -> Line:
        key = f"{start} {words}"
        text = key if said is None else f"{key} {said}"
        return Line(text, key=key, undo=f"no {key}", head=head, at=f"{at}/{leaf}", fresh=fresh)

    if "local-as" in given:
        yield line("local-as", "local-as", given["local-as"], fresh=True)
    if "description" in given:
        yield line("description", "description", given["description"])
    if "bfd" in given:
        yield line("bfd", "bfd")
        if "profile" in given["bfd"]:
            yield line("bfd profile", "bfd/profile", given["bfd"]["profile"])
    if "password" in given:
        yield line("password", "password", given["password"])
    if not given["enabled"]:
        yield line("shutdown", "enabled")
    if given["passive"]:
        yield line("passive", "passive")
    if "ebgp-multihop" in given:
        # FRR leaves the largest out.
        hops = given["ebgp-multihop"]
        yield line("ebgp-multihop", "ebgp-multihop", None if hops == 255 else hops)
    if "ttl-security" in given:
        # Without its value, FRR doesn't take it back.
        key = f"{start} ttl-security hops"
        text = f"{key} {given['ttl-security']}"
        yield Line(text, key=key, head=head, at=f"{at}/ttl-security", fresh=True)
    if given["extended-next-hop"]:
        yield line("capability extended-nexthop", "extended-next-hop")
    if "update-source" in given:
        yield line("update-source", "update-source", given["update-source"])
    yield from timers(given.get("timers", {}), start, head, f"{at}/timers")


def timers(given: dict[str, Any], start: str, head: str, at: str) -> Iterator[Line]:
    both = (given.get("keepalive", 60), given.get("hold-time", 180))
    if both != (60, 180):
        text = f"{start} timers {both[0]} {both[1]}"
        yield Line(text, key=f"{start} timers", undo=f"no {start} timers", head=head, at=at)
    for leaf, words, default in (
        ("connect-retry", "timers connect", None),
        ("advertisement-interval", "advertisement-interval", 0),
    ):
        if given.get(leaf, default) != default:
            key = f"{start} {words}"
            yield Line(
                f"{key} {given[leaf]}", key=key, undo=f"no {key}", head=head, at=f"{at}/{leaf}"
            )


def where_of(neighbor: dict[str, Any]) -> tuple[str, str]:
    """The words a neighbour's lines begin with, and its path."""
    return f"neighbor {neighbor['peer']}", f"/neighbor[peer='{neighbor['peer']}']"


def announced(given: dict[str, Any], at: str) -> Iterator[Line]:
    for network in given.get("network", []):
        key = f"network {network['prefix']}"
        text = key + (f" route-map {network['route-map']}" if "route-map" in network else "")
        where = f"{at}/network[prefix='{network['prefix']}']"
        yield Line(text, key=key, undo=f"no {key}", at=where, fresh=True)
    for aggregate in given.get("aggregate-address", []):
        key = f"aggregate-address {aggregate['prefix']}"
        text = key + "".join(f" {leaf}" for leaf in ("as-set", "summary-only") if aggregate[leaf])
        where = f"{at}/aggregate-address[prefix='{aggregate['prefix']}']"
        yield Line(text, key=key, undo=f"no {key}", at=where, fresh=True)
    for source in given.get("redistribute", []):
        key = f"redistribute {PROTOCOLS.get(source['protocol'], source['protocol'])}"
        text = key + "".join(
            f" {leaf} {source[leaf]}" for leaf in ("metric", "route-map") if leaf in source
        )
        where = f"{at}/redistribute[protocol='{source['protocol']}']"
        yield Line(text, key=key, undo=f"no {key}", at=where, fresh=True)
    paths = given.get("maximum-paths", {})
    for leaf, words in (("ebgp", "maximum-paths"), ("ibgp", "maximum-paths ibgp")):
        if paths.get(leaf, MAXIMUM_PATHS) != MAXIMUM_PATHS:
            where = f"{at}/maximum-paths/{leaf}"
            yield Line(f"{words} {paths[leaf]}", key=words, undo=f"no {words}", at=where)


def exchanged(neighbor: dict[str, Any], family: str) -> Iterator[Line]:
    start, at = where_of(neighbor)
    given, at = neighbor[family], f"{at}/{family}"
    yield Line(f"{start} activate", head=start, at=at)
    for leaf, words in SWITCHES:
        if given[leaf]:
            yield Line(f"{start} {words}", head=start, at=f"{at}/{leaf}")
    for leaf, words, implied in NUMBERS:
        if leaf in given:
            key = f"{start} {words}"
            text = key if given[leaf] == implied else f"{key} {given[leaf]}"
            yield Line(text, key=key, undo=f"no {key}", head=start, at=f"{at}/{leaf}")
    for leaf, words, direction in POLICIES:
        if leaf in given:
            key = f"{start} {words}{direction}"
            text = f"{start} {words} {given[leaf]}{direction}"
            yield Line(text, key=key, head=start, at=f"{at}/{leaf}")
