"""What Linux is told, the fast path does: routes, neighbours, links, forwarding switches.

h1 -- p1  router  p2 -- h2
"""

import subprocess
from collections.abc import Iterator

import pytest

from lab.netns import ip_batch
from lab.proc import wait_for
from tests.lib.frames import Wire
from tests.lib.packets import udp_frame
from tests.lib.rig import LEFT, RIGHT, Rig, ping

pytestmark = pytest.mark.functional
BACKGROUND = 12
# Where a frame with this payload goes is asked; TEST-NET-3's upper half and a prefix of its own.
PROBE = b"which way?"
FAMILIES = pytest.mark.parametrize(
    ("source", "target", "prefix", "gateway"),
    [
        (LEFT.host4, "203.0.113.200", "203.0.113.192/26", RIGHT.host4),
        (LEFT.host6, "2001:db8:3:8000::1", "2001:db8:3:8000::/49", RIGHT.host6),
    ],
    ids=["IPv4", "IPv6"],
)


@pytest.fixture(autouse=True)
def as_it_was(rig: Rig) -> Iterator[None]:
    """Undo what a test told Linux."""
    yield
    for prefix in ("203.0.113.192/26", "2001:db8:3:8000::/49"):
        rig.router.ip(f"route del {prefix}", check=False)
    rig.configure_router()
    for side in (LEFT, RIGHT):
        rig.router.ip(f"link set {side.port} mtu 1500")
    rig.router.sysctl({"net.ipv4.conf.p1.forwarding": "1", "net.ipv6.conf.all.forwarding": "1"})
    rig.router.ip("neigh flush all nud permanent", check=False)
    rig.wait_for_configuration()
    rig.resolve()


def arrivals(rig: Rig, source: str, target: str, count: int = 10) -> list[bytes]:
    """Probe frames sent from h1 that arrive at h2."""
    frame = udp_frame((LEFT.host_mac, source), (LEFT.port_mac, target), PROBE)
    with Wire(rig.h1.namespace, "eth0") as near, Wire(rig.h2.namespace, "eth0") as far:
        near.send([frame] * count)
        return far.hear(
            until=count, timeout=0.3, wanted=lambda f: PROBE in f and f[:6] != b"\xff" * 6
        )


def prefixes(rig: Rig) -> dict[str, dict[str, object]]:
    return {route["prefix"]: route for route in rig.fast_path.table("routes")}


def follow(rig: Rig, prefix: str, **wanted: object) -> None:
    """Wait until the fast path's route has these values; None: until there's none."""

    def there() -> bool:
        route = prefixes(rig).get(prefix)
        if not wanted:
            return route is None
        return route is not None and all(route[key] == value for key, value in wanted.items())

    wait_for(there, f"route {prefix} with {wanted}", timeout=5, interval=0.05)


@FAMILIES
def test_a_route_is_added_changed_and_deleted(
    rig: Rig, source: str, target: str, prefix: str, gateway: str
) -> None:
    rig.router.ip(f"route add {prefix} via {gateway}")
    follow(rig, prefix, type="gateway", via=gateway, interface="p2")
    with rig.carried(packets=10, exceptions=BACKGROUND):
        assert len(arrivals(rig, source, target)) == 10

    # Back to where it came from: nothing may reach h2 now.
    back = LEFT.host6 if ":" in gateway else LEFT.host4
    rig.router.ip(f"route replace {prefix} via {back}")
    follow(rig, prefix, via=back, interface="p1")
    assert arrivals(rig, source, target) == []

    rig.router.ip(f"route replace blackhole {prefix}")
    follow(rig, prefix, type="blackhole")
    before = rig.fast_path.counters()
    assert arrivals(rig, source, target) == []
    delta = rig.fast_path.counters() - before
    assert delta.drops >= 10, delta
    assert delta.forwarded == 0, delta

    rig.router.ip(f"route del blackhole {prefix}")
    follow(rig, prefix)


@FAMILIES
def test_the_longest_prefix_wins_and_the_shorter_one_takes_over(
    rig: Rig, source: str, target: str, prefix: str, gateway: str
) -> None:
    shorter = "203.0.113.128/25" if "." in prefix else "2001:db8:3::/48"
    back = LEFT.host6 if ":" in gateway else LEFT.host4
    rig.router.ip(f"route add {shorter} via {gateway}")
    try:
        rig.router.ip(f"route add {prefix} via {back}")
        follow(rig, prefix, via=back)
        assert arrivals(rig, source, target) == []
        rig.router.ip(f"route del {prefix}")
        follow(rig, prefix)
        with rig.carried(packets=10, exceptions=BACKGROUND):
            assert len(arrivals(rig, source, target)) == 10
    finally:
        rig.router.ip(f"route del {shorter}")


@FAMILIES
def test_a_new_mac_of_a_neighbour_is_used(
    rig: Rig, source: str, target: str, prefix: str, gateway: str
) -> None:
    other = "02:00:00:00:02:99"
    rig.router.ip(f"neigh replace {gateway} lladdr {other} dev p2 nud permanent")
    wait_for(
        lambda: any(
            row["address"] == gateway and row["mac"] == other
            for row in rig.fast_path.table("neighbours")
        ),
        "the new MAC in the fast path",
        timeout=5,
        interval=0.05,
    )
    with rig.carried(packets=10, exceptions=BACKGROUND):
        frames = arrivals(rig, source, gateway)
    assert {frame[:6].hex(":") for frame in frames} == {other}


@pytest.mark.parametrize("address", [RIGHT.host4, RIGHT.host6])
def test_forwarding_stops_when_the_link_goes_down_and_goes_on_when_it_is_up(
    rig: Rig, address: str
) -> None:
    with rig.carried(packets=20, exceptions=BACKGROUND):
        assert ping(rig.h1, address, count=10) == 10
    rig.router.ip("link set p2 down")
    wait_for(
        lambda: not any(
            row["name"] == "p2" and row["up"] for row in rig.fast_path.table("interfaces")
        ),
        "p2 to be down in the fast path",
        timeout=5,
        interval=0.05,
    )
    source = LEFT.host6 if ":" in address else LEFT.host4
    before = rig.fast_path.counters()
    assert arrivals(rig, source, address) == []
    assert (rig.fast_path.counters() - before).forwarded == 0
    # Linux forgot p2's IPv6 addresses and all routes through it; `as_it_was` tests that it works
    # again.
    rig.configure_router()
    rig.wait_for_configuration()
    rig.resolve()
    with rig.carried(packets=20, exceptions=BACKGROUND):
        assert ping(rig.h1, address, count=10) == 10


def test_an_unplugged_cable_is_seen_by_linux_and_plugged_in_again(rig: Rig) -> None:
    def carrier() -> bool:
        return "NO-CARRIER" not in rig.router.ip("link show p2")

    def port_link() -> bool:
        return any(row["name"] == "p2" and row["link"] for row in rig.fast_path.table("ports"))

    assert carrier()
    rig.h2.ip("link set eth0 down")
    try:
        wait_for(lambda: not carrier(), "Linux to see it", timeout=10, interval=0.05)
        assert not port_link()
    finally:
        rig.h2.ip("link set eth0 up")
        # A link that goes down takes these along.
        rig.h2.ip(f"address replace {RIGHT.host6}/64 dev eth0 nodad")
        rig.h2.ip(f"route replace default via {RIGHT.port4}")
        rig.h2.ip(f"route replace default via {RIGHT.port6}")
    wait_for(carrier, "Linux to see it again", timeout=10, interval=0.05)
    rig.configure_router()
    rig.wait_for_configuration()
    rig.resolve()
    with rig.carried(packets=20, exceptions=BACKGROUND):
        assert ping(rig.h1, RIGHT.host4, count=10) == 10


@pytest.mark.parametrize(("family", "address"), [(4, RIGHT.host4), (6, RIGHT.host6)])
def test_with_forwarding_switched_off_nothing_is_forwarded(
    rig: Rig, family: int, address: str
) -> None:
    # Linux looks at IPv6's switch of the whole namespace only.
    key = "net.ipv4.conf.p1.forwarding" if family == 4 else "net.ipv6.conf.all.forwarding"
    rig.router.sysctl({key: "0"})
    wait_for(
        lambda: not any(
            row["name"] == "p1" and row[f"forward{family}"]
            for row in rig.fast_path.table("interfaces")
        ),
        "forwarding to be off in the fast path",
        timeout=5,
        interval=0.05,
    )
    source = LEFT.host6 if family == 6 else LEFT.host4
    before = rig.fast_path.counters()
    assert arrivals(rig, source, address) == []
    delta = rig.fast_path.counters() - before
    assert delta.forwarded == 0, delta
    assert delta.exceptions >= 10, delta
    rig.router.sysctl({key: "1"})
    wait_for(
        lambda: len(arrivals(rig, source, address)) == 10,
        "forwarding to go on",
        timeout=5,
        interval=0.05,
    )
    with rig.carried(packets=10, exceptions=BACKGROUND):
        assert len(arrivals(rig, source, address)) == 10


def wait_for_policy(rig: Rig, source: str, target: str, *, on: bool) -> None:
    """Until packets are exceptions because of what only Linux knows, or no longer are."""

    def as_wanted() -> bool:
        before = rig.fast_path.counters()
        arrivals(rig, source, target, 1)
        delta = rig.fast_path.counters() - before
        return any("policy" in name or "rpf" in name for name in delta.reasons) == on

    wait_for(as_wanted, f"policy {'on' if on else 'off'}", timeout=10, interval=0.05)


@pytest.mark.parametrize(("family", "address"), [("ip", RIGHT.host4), ("ip6", RIGHT.host6)])
def test_a_firewall_that_only_linux_knows_is_obeyed(rig: Rig, family: str, address: str) -> None:
    source = LEFT.host6 if ":" in address else LEFT.host4
    rules = f"""
        add table {family} t
        add chain {family} t c {{ type filter hook forward priority 0; }}
        add rule {family} t c udp dport 9 drop
    """
    done = subprocess.run(
        ["ip", "netns", "exec", rig.router.namespace, "nft", "-f", "-"],
        input=rules,
        text=True,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    try:
        wait_for_policy(rig, source, address, on=True)
        before = rig.fast_path.counters()
        assert arrivals(rig, source, address) == []
        assert (rig.fast_path.counters() - before).exceptions >= 10
        assert ping(rig.h1, address, count=3) == 3, "Linux forwards what its rules allow"
    finally:
        rig.router.run("nft", "delete", "table", family, "t")
    wait_for_policy(rig, source, address, on=False)
    with rig.carried(packets=10, exceptions=BACKGROUND):
        assert len(arrivals(rig, source, address)) == 10


@pytest.mark.parametrize(("option", "address"), [("-4", RIGHT.host4), ("-6", RIGHT.host6)])
def test_a_rule_that_only_linux_knows_sends_what_it_may_match_to_linux(
    rig: Rig, option: str, address: str
) -> None:
    source = LEFT.host6 if ":" in address else LEFT.host4
    # Devices' groups aren't known to the fast path.
    rig.router.ip(f"{option} rule add from {source} table main suppress_ifgroup 77 pref 100")
    try:

        def at_linux() -> bool:
            before = rig.fast_path.counters()
            assert len(arrivals(rig, source, address)) == 10
            return (rig.fast_path.counters() - before).exceptions >= 10

        wait_for(at_linux, "Linux to have the packets", timeout=20, interval=0.05)
    finally:
        rig.router.ip(f"{option} rule del pref 100")
    wait_for(lambda: not at_linux(), "the fast path to have them", timeout=20, interval=0.05)
    with rig.carried(packets=10, exceptions=BACKGROUND):
        assert len(arrivals(rig, source, address)) == 10


@pytest.mark.parametrize(
    ("option", "address", "gateway"),
    [("-4", "203.0.113.200", RIGHT.host4), ("-6", "2001:db8:3:8000::1", RIGHT.host6)],
)
def test_rules_choose_the_table_in_the_fast_path(
    rig: Rig, option: str, address: str, gateway: str
) -> None:
    """By main back to h1, by table 100 to h2: only what the rules select arrives there."""
    v6 = ":" in address
    source, other = (LEFT.host6, "2001:db8:1::77") if v6 else (LEFT.host4, "192.0.2.77")
    prefix, back = ("2001:db8:3:8000::/49", LEFT.host6) if v6 else ("203.0.113.192/26", LEFT.host4)
    rig.router.ip(f"route add {prefix} via {back}")
    rig.router.ip(f"{option} route add default via {gateway} table 100")
    rules = ("from {} table 100 pref 100", "from {} dport 7 blackhole pref 90")
    try:
        follow(rig, prefix, via=back, interface="p1")
        assert arrivals(rig, source, address) == []
        for rule in rules:
            rig.router.ip(f"{option} rule add {rule.format(source)}")
        wait_for(
            lambda: len(arrivals(rig, source, address)) == 10,
            "packets to take table 100",
            timeout=20,
            interval=0.05,
        )
        with rig.carried(packets=10, exceptions=BACKGROUND):
            assert len(arrivals(rig, source, address)) == 10
        assert arrivals(rig, other, address) == []
        shown = [row for row in rig.fast_path.table("rules") if row["family"] == (6 if v6 else 4)]
        assert [row["pref"] for row in shown][:3] == [0, 1, 2]
        assert any(row["action"] == "table 100" and row["from"].startswith(source) for row in shown)
        rig.router.ip(f"{option} rule add from {source} blackhole pref 50")

        def dropped() -> bool:
            before = rig.fast_path.counters()
            assert len(arrivals(rig, source, address)) in (0, 10)
            return (rig.fast_path.counters() - before).drops >= 10

        wait_for(dropped, "the fast path to drop them", timeout=20, interval=0.05)
    finally:
        for pref in (50, 90, 100):
            rig.router.ip(f"{option} rule del pref {pref}", check=False)
        rig.router.ip(f"{option} route flush table 100", check=False)
    wait_for(
        lambda: not rig.fast_path.table("rules"), "the rules to be gone", timeout=20, interval=0.05
    )


def test_the_reverse_path_filter_is_linuxs(rig: Rig) -> None:
    # From an address that the router would reach through the other port.
    forged = RIGHT.host4.rpartition(".")[0] + ".9"
    target = "203.0.113.1"
    assert len(arrivals(rig, forged, target)) == 10
    rig.router.sysctl({"net.ipv4.conf.p1.rp_filter": "1"})
    try:
        wait_for_policy(rig, forged, target, on=True)
        assert arrivals(rig, forged, target) == []
        with rig.carried(packets=10, exceptions=BACKGROUND):
            assert len(arrivals(rig, LEFT.host4, target)) == 10
        rig.router.sysctl({"net.ipv4.conf.p1.rp_filter": "2"})
        wait_for_policy(rig, forged, target, on=False)
        with rig.carried(packets=10, exceptions=BACKGROUND):
            assert len(arrivals(rig, forged, target)) == 10
        # From an address that it wouldn't reach at all.
        wait_for_policy(rig, "10.99.99.99", target, on=True)
        assert arrivals(rig, "10.99.99.99", target) == []
    finally:
        rig.router.sysctl({"net.ipv4.conf.p1.rp_filter": "0"})
    wait_for_policy(rig, forged, target, on=False)
    with rig.carried(packets=10, exceptions=BACKGROUND):
        assert len(arrivals(rig, LEFT.host4, target)) == 10


def test_many_routes_arrive_and_leave(rig: Rig) -> None:
    # More than fit into one dump's answer or one socket buffer.
    lines = [f"10.{number >> 8}.{number & 255}.0/24 via {RIGHT.host4}" for number in range(2000)]

    def count() -> int:
        return sum(prefix.startswith("10.") for prefix in prefixes(rig))

    ip_batch(rig.router.namespace, [f"route add {line}" for line in lines])
    wait_for(lambda: count() == 2000, "2000 routes", timeout=20, interval=0.2)
    with rig.carried(packets=10, exceptions=BACKGROUND):
        assert len(arrivals(rig, LEFT.host4, "10.5.6.7")) == 10
    ip_batch(rig.router.namespace, [f"route del {line}" for line in lines])
    wait_for(lambda: count() == 0, "no such routes", timeout=20, interval=0.2)
