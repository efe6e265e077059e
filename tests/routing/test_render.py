"""The whole model as FRR's lines: full.json holds a statement for each leaf, full.conf what each daemon is told.

`SLUICE_REGENERATE=1` writes full.conf anew.
"""

import asyncio
import json
import os
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from sluice.features.iface.mgmt import FEATURE as IFACE
from sluice.features.route.mgmt import FEATURE as ROUTE
from sluice.features.routing import lines
from sluice.features.routing.frr import Refusal, refusals
from sluice.features.routing.lines import Line
from sluice.features.routing.mgmt import DAEMONS, FEATURE, KINDS, Routing, flat, shown, steps
from sluice.features.vrf.mgmt import FEATURE as VRF
from sluice.mgmt.app import load_models
from sluice.mgmt.change import Watchers
from sluice.mgmt.error import ConfigError
from sluice.mgmt.feature import Entry
from sluice.mgmt.yang import Schema, YangError

HERE = Path(__file__).parent
FULL = HERE / "full.json"
GOLDEN = HERE / "full.conf"


@cache
def schema() -> Schema:
    return load_models([VRF, IFACE, ROUTE, FEATURE])


def entries(configuration: dict[str, Any]) -> list[Entry]:
    tree = schema().parse(json.dumps(configuration))
    tree.validate()
    applier = Routing()
    found = Watchers(schema(), [applier]).all([], tree)[applier]
    return [entry for entry in found if entry.schema in KINDS]


def routing(**parts: Any) -> dict[str, Any]:
    """A configuration with parts of main's routing: bgp={...}."""
    modules = {"ospf": "ospf", "ospfv3": "ospf", "rip": "rip", "ripng": "rip"}
    inner = {f"sluice-{modules.get(name, name)}:{name}": value for name, value in parts.items()}
    return {"sluice-vrf:vrf": [{"name": "main", "sluice-route:routing": inner}]}


def rendered(configuration: dict[str, Any], daemon: str) -> list[Line]:
    found = steps(entries(configuration)).values()
    return lines.of(
        (line for step in found for piece in step.new.values() for line in piece.lines), daemon
    )


def text_of(some: list[Line]) -> str:
    return "".join(f"{said.text}\n" for said in flat(some))


def test_the_whole_model_as_lines() -> None:
    full = json.loads(FULL.read_text())
    text = "".join(f"! {daemon}\n{text_of(rendered(full, daemon))}" for daemon in DAEMONS)
    if os.environ.get("SLUICE_REGENERATE"):
        GOLDEN.write_text(text)
    assert text == GOLDEN.read_text()


def test_every_leaf_of_the_model_is_in_the_example() -> None:
    tree = schema().parse(FULL.read_text())
    given = json.dumps(json.loads(tree.print()))
    assert given.count("sluice-") >= 7
    named = FULL.read_text()
    for model in FEATURE.models:
        configuration = model.read_text().partition("config false")[0]
        for word in configuration.split("leaf ")[1:]:
            name = word.partition(" ")[0]
            assert f'"{name}"' in named, f"{model.name}: {name}"


def test_every_line_has_a_path() -> None:
    for entry in entries(json.loads(FULL.read_text())):
        for step in steps([entry]).values():
            for piece in step.new.values():
                for said in flat(piece.lines):
                    assert said.line is None or said.line.at.startswith(entry.path)


# What is said to get from one to another


def told(old: list[Line], new: list[Line], actual: str) -> list[str]:
    parsed = lines.parse(actual)
    said = lines.removals(old, new, parsed, frozenset()) + lines.additions(new, parsed)
    return [one.text for one in said]


def test_nothing_is_said_twice() -> None:
    for daemon in DAEMONS:
        some = rendered(json.loads(FULL.read_text()), daemon)
        actual = indented(some)
        assert told(some, some, actual) == []
        assert list(lines.missing(some, lines.parse(actual))) == []


def indented(some: list[Line], depth: int = 0) -> str:
    """Lines as `show running-config` has them."""
    text = ""
    for line in some:
        if line.inner is not None and not line.inner and not line.stands:
            continue
        text += " " * depth + line.text + "\n"
        text += indented(list(line.inner or ()), depth + 1)
    return text


def test_a_stranger_s_lines_stay() -> None:
    some = rendered(routing(ospf={"router-id": "192.0.2.1"}), "ospfd")
    there = "router ospf\n ospf router-id 192.0.2.1\n"
    assert told(some, [], there) == ["no router ospf"]
    assert told(some, [], there + " distance 100\n") == [
        "router ospf",
        "no ospf router-id",
        "exit",
    ]
    assert told([], some, "router ospf\n distance 100\n") == [
        "router ospf",
        "ospf router-id 192.0.2.1",
        "exit",
    ]


NEIGHBOR = {"peer": "192.0.2.2", "remote-as": 65002, "password": "old", "ipv4-unicast": {}}


def bgp(*neighbors: dict[str, Any], number: int = 65001) -> list[Line]:
    return rendered(routing(bgp={"as": number, "neighbor": list(neighbors)}), "bgpd")


def test_a_neighbour_goes_with_one_line() -> None:
    both = bgp(NEIGHBOR, NEIGHBOR | {"peer": "192.0.2.3"})
    one = bgp(NEIGHBOR | {"peer": "192.0.2.3"})
    assert told(both, one, indented(both)) == ["router bgp 65001", "no neighbor 192.0.2.2", "exit"]


def test_a_value_takes_another_s_place() -> None:
    old, new = bgp(NEIGHBOR), bgp(NEIGHBOR | {"password": "new"})
    assert told(old, new, indented(old)) == [
        "router bgp 65001",
        "neighbor 192.0.2.2 password new",
        "exit",
    ]
    without = bgp({key: value for key, value in NEIGHBOR.items() if key != "password"})
    assert "no neighbor 192.0.2.2 password" in told(old, without, indented(old))


def test_options_that_frr_would_keep_are_taken_back_first() -> None:
    def source(**options: Any) -> list[Line]:
        return rendered(
            routing(ospf={"redistribute": [{"protocol": "kernel", **options}]}), "ospfd"
        )

    old, new = source(metric=5), source()
    assert told(old, new, indented(old)) == [
        "router ospf",
        "no redistribute kernel",
        "exit",
        "router ospf",
        "redistribute kernel",
        "exit",
    ]


def test_another_as_is_another_bgp() -> None:
    old = bgp(NEIGHBOR)
    assert told(old, bgp(NEIGHBOR, number=65003), indented(old))[:2] == [
        "no router bgp 65001",
        "router bgp 65003",
    ]


def test_what_a_crash_left_is_found() -> None:
    old, new = bgp(NEIGHBOR), bgp(NEIGHBOR | {"description": "x"})
    half = "router bgp 65001\n no bgp default ipv4-unicast\n neighbor 192.0.2.2 remote-as 65002\n"
    assert told(old, new, half) == [
        "router bgp 65001",
        "neighbor 192.0.2.2 description x",
        "neighbor 192.0.2.2 password old",
        "address-family ipv4 unicast",
        "neighbor 192.0.2.2 activate",
        "exit-address-family",
        "exit",
    ]
    assert told(old, [], "") == []


def test_what_frr_says_finds_its_line() -> None:
    text = (
        "[21684|bgpd] sending configuration\n% Specify remote-as or peer-group commands first\n"
        "line 2: Failure to communicate[13] to bgpd, line:  neighbor 192.0.2.7 description x\n\n"
        "line 3: % Unknown command[28]:  bogus\nConfiguration file[/etc/frr/frr.conf] processing failure: 13\n"
    )
    assert refusals(text) == (
        [
            Refusal(1, "Specify remote-as or peer-group commands first"),
            Refusal(2, "unknown:  bogus"),
        ],
        "",
    )


def test_secrets_aren_t_told() -> None:
    for daemon in DAEMONS:
        for said in flat(rendered(json.loads(FULL.read_text()), daemon)):
            assert said.line is None or not {"secret", "open"} & set(shown(said.line).split())


# What is refused


@pytest.mark.parametrize(
    ("parts", "text"),
    [
        ({"ospf": {"area": [{"area-id": 0, "area-type": "stub"}]}}, "the backbone"),
        ({"ospf": {"area": [{"area-id": 1, "summary": False}]}}, "only stub and nssa"),
        (
            {"ospf": {"area": [{"area-id": i, "interface": [{"name": "e"}]} for i in (0, 1)]}},
            "one area only",
        ),
        ({"ospf": {"redistribute": [{"protocol": "bgp", "route-map": "NO"}]}}, "NO"),
        ({"bgp": {"neighbor": []}}, "as"),
        ({"bgp": {"as": 1, "neighbor": [NEIGHBOR | {"bfd": {"profile": "NO"}}]}}, "NO"),
        ({"bgp": {"as": 1, "neighbor": [NEIGHBOR | {"description": "a\nb"}]}}, "a\nb"),
        ({"bgp": {"as": 1, "neighbor": [NEIGHBOR | {"timers": {"keepalive": 90}}]}}, "a third"),
        ({"bgp": {"as": 1, "neighbor": [NEIGHBOR | {"extended-next-hop": True}]}}, "IPv6"),
        ({"bfd": {"peer": [{"address": "192.0.2.1", "multihop": True}]}}, "local-address"),
        ({"bfd": {"peer": [{"address": "192.0.2.1", "minimum-ttl": 5}]}}, "multihop"),
    ],
)
def test_the_model_refuses(parts: dict[str, Any], text: str) -> None:
    with pytest.raises(YangError) as caught:
        entries(routing(**parts))
    assert text in str(caught.value)


@pytest.mark.parametrize(
    ("parts", "path"),
    [
        ({"ospf": {"area": [{"area-id": 0}, {"area-id": "0.0.0.0"}]}}, "area[area-id='0']"),
        ({"ospf": {"redistribute": [{"protocol": "ripng"}]}}, "redistribute[protocol='ripng']"),
        ({"ospfv3": {"redistribute": [{"protocol": "ospfv3"}]}}, "[protocol='ospfv3']"),
        ({"rip": {"redistribute": [{"protocol": "ospfv3"}]}}, "redistribute[protocol='ospfv3']"),
        (
            {"bgp": {"as": 1, "ipv6-unicast": {"redistribute": [{"protocol": "rip"}]}}},
            "ipv6-unicast/redistribute[protocol='rip']",
        ),
        (
            {"ospf": {"area": [{"area-id": 0, "range": [{"prefix": "2001:db8::/32"}]}]}},
            "range[prefix='2001:db8::/32']",
        ),
    ],
)
def test_the_applier_refuses(parts: dict[str, Any], path: str) -> None:
    with pytest.raises(ConfigError) as caught:
        asyncio.run(Routing().verify(entries(routing(**parts))))
    (fault,) = caught.value.faults
    assert fault.path.endswith(path)
