# SPDX-License-Identifier: BSD-3-Clause
"""Prefix lists and route maps as FRR writes them."""

from typing import Any

from sluice.features.routing.lines import Line

# mgmtd passes them on to zebra, ripd and ripngd; the others keep their own.
DAEMONS = ("mgmtd", "ospfd", "ospf6d", "bgpd")
BGP = ("bgpd",)
OSPF = ("ospfd", "ospf6d")
# What FRR calls the protocols, where it's another word.
PROTOCOLS = {"ospfv3": "ospf6"}


def prefix_list(name: str, value: dict[str, Any], family: str) -> list[Line]:
    start = f"{family} prefix-list {name}"
    lines = []
    if "description" in value:
        text = f"{start} description {value['description']}"
        lines.append(
            Line(text, key=start, undo=f"no {start} description", at="/description", who=DAEMONS)
        )
    for rule in value.get("rule", []):
        key = f"{start} seq {rule['sequence']}"
        text = f"{key} {rule['action']} {rule['prefix']}"
        text += "".join(f" {word} {rule[word]}" for word in ("ge", "le") if word in rule)
        at = f"/rule[sequence='{rule['sequence']}']"
        lines.append(Line(text, key=key, at=at, who=DAEMONS))
    return lines


# (YANG's leaf, FRR's words, daemons)
MATCH = (
    ("interface", "interface", ()),
    ("ipv4-prefix-list", "ip address prefix-list", ()),
    ("ipv4-next-hop-prefix-list", "ip next-hop prefix-list", ()),
    ("ipv6-prefix-list", "ipv6 address prefix-list", ()),
    ("metric", "metric", ()),
    ("peer", "peer", BGP),
    ("source-protocol", "source-protocol", BGP),
    ("tag", "tag", ()),
)
SET = (
    ("as-path-prepend", "as-path prepend", BGP),
    ("ipv4-next-hop", "ip next-hop", ()),
    ("ipv6-next-hop", "ipv6 next-hop global", BGP),
    ("local-preference", "local-preference", BGP),
    ("metric", "metric", ()),
    ("metric-type", "metric-type", OSPF),
    ("origin", "origin", BGP),
    ("tag", "tag", ()),
    ("weight", "weight", BGP),
)


WELL_KNOWN = {
    "graceful-shutdown": 0xFFFF0000,
    "blackhole": 0xFFFF029A,
    "no-export": 0xFFFFFF01,
    "no-advertise": 0xFFFFFF02,
    "local-AS": 0xFFFFFF03,
    "no-peer": 0xFFFFFF04,
}


def number(community: str) -> int:
    """A community as BGP sends it, which is how FRR sorts them."""
    if community in WELL_KNOWN:
        return WELL_KNOWN[community]
    high, _, low = community.partition(":")
    return int(high) << 16 | int(low)


def route_map(name: str, value: dict[str, Any]) -> list[Line]:
    return [rule_of(name, rule) for rule in value.get("rule", [])]


def rule_of(name: str, rule: dict[str, Any]) -> Line:
    at = f"/rule[sequence='{rule['sequence']}']"
    inner = []
    if "description" in rule:
        inner.append(
            Line(
                f"description {rule['description']}",
                key="description",
                undo="no description",
                at=at,
            )
        )
    if "call" in rule:
        inner.append(Line(f"call {rule['call']}", key="call", undo="no call", at=f"{at}/call"))
    for verb, table in (("match", MATCH), ("set", SET)):
        given = rule.get(verb, {})
        for leaf, words, who in table:
            if leaf in given:
                said = PROTOCOLS.get(given[leaf], given[leaf]) if verb == "match" else given[leaf]
                key = f"{verb} {words}"
                inner.append(
                    Line(
                        f"{key} {said}",
                        key=key,
                        undo=f"no {key}",
                        at=f"{at}/{verb}/{leaf}",
                        who=who,
                    )
                )
    communities = sorted(rule.get("set", {}).get("community", []), key=number)
    if communities:
        text = f"set community {' '.join(communities)}"
        if rule["set"].get("community-additive"):
            text += " additive"
        undo = "no set community"
        inner.append(
            Line(
                text, key="set community", undo=undo, at=f"{at}/set/community", who=BGP, fresh=True
            )
        )
    if "on-match" in rule:
        inner.append(Line(f"on-match {rule['on-match']}", key="on-match", at=f"{at}/on-match"))
    header = f"route-map {name} {rule['action']} {rule['sequence']}"
    return Line(header, at=at, who=DAEMONS, inner=tuple(inner))
