"""What the golden recordings show: each scenario is steps of `ip` commands in a new namespace with a veth pair."""

SETUP = [
    "link set lo up",
    "link add p1 index 11 address 02:00:00:00:01:01 type veth"
    " peer name h1 index 12 address 02:00:00:00:01:02",
    "link add p2 index 21 address 02:00:00:00:02:01 type veth"
    " peer name h2 index 22 address 02:00:00:00:02:02",
    "link set p1 up",
    "link set h1 up",
    "link set p2 up",
    "link set h2 up",
    "address add 192.0.2.1/24 dev p1",
    "address add 198.51.100.1/24 dev p2",
    "address add 2001:db8:1::1/64 dev p1 nodad",
    "address add 2001:db8:2::1/64 dev p2 nodad",
]

# Each step's changes are followed before the next one is made.
SCENARIOS: dict[str, list[list[str]]] = {
    "addresses": [
        ["address add 192.0.2.129/25 dev p1"],
        ["address del 192.0.2.129/25 dev p1"],
        ["address add 2001:db8:1::2/64 dev p1 nodad"],
        ["address del 2001:db8:1::2/64 dev p1"],
        # The last one takes along what the kernel doesn't tell.
        ["route add 203.0.113.0/24 via 192.0.2.2", "address del 192.0.2.1/24 dev p1"],
        ["address add 192.0.2.1/24 dev p1"],
    ],
    "links": [
        ["route add 203.0.113.0/24 via 192.0.2.2", "route add 2001:db8:3::/48 via 2001:db8:1::2"],
        ["link set p1 mtu 1400"],
        ["link set h1 down"],
        ["link set h1 up"],
        ["link set p1 down"],
        ["link set p1 up"],
        ["link add name br0 type bridge", "link set h2 master br0"],
        ["link set h2 nomaster", "link del br0"],
        ["link set p1 name wan"],
        ["link del wan"],
    ],
    "neighbours": [
        ["neigh add 192.0.2.2 lladdr 02:00:00:00:00:02 dev p1 nud permanent"],
        ["neigh replace 192.0.2.2 lladdr 02:00:00:00:00:03 dev p1 nud stale"],
        ["neigh add 2001:db8:1::2 lladdr 02:00:00:00:00:04 dev p1 nud reachable"],
        ["neigh add proxy 192.0.2.9 dev p1"],
        ["neigh replace 192.0.2.2 dev p1 nud failed"],
        ["neigh add 192.0.2.5 lladdr 02:00:00:00:00:05 dev p1 nud noarp"],
        ["neigh del 2001:db8:1::2 dev p1"],
        ["link set p1 down"],
    ],
    "routes4": [
        ["route add 203.0.113.0/24 via 192.0.2.2"],
        ["route append 203.0.113.0/24 via 192.0.2.3"],
        ["route prepend 203.0.113.0/24 via 192.0.2.4"],
        ["route replace 203.0.113.0/24 via 198.51.100.2"],
        ["route del 203.0.113.0/24 via 192.0.2.2"],
        ["route del 203.0.113.0/24 via 198.51.100.2"],
        ["route del 203.0.113.0/24"],
        [
            "route add 203.0.113.0/24 metric 5 nexthop via 192.0.2.2 weight 2 nexthop via 198.51.100.2"
        ],
        ["route replace 203.0.113.0/24 metric 5 via inet6 2001:db8:1::2 dev p1"],
        ["route add blackhole 203.0.113.0/25", "route add unreachable 203.0.113.128/25"],
        ["route add 203.0.113.7/32 via 192.0.2.2 mtu 1400"],
        ["route add 203.0.113.8/32 dev p1 tos 0x10"],
        ["route add 203.0.113.9/32 via 192.0.2.2 advmss 1000 src 192.0.2.1"],
        ["route add 203.0.113.0/24 via 192.0.2.2 table 100"],
        ["nexthop add id 7 via 192.0.2.7 dev p1", "route add 203.0.113.10/32 nhid 7"],
        ["nexthop replace id 7 via 198.51.100.7 dev p2"],
        ["nexthop del id 7"],
    ],
    "routes6": [
        ["route add 2001:db8:3::/48 via 2001:db8:1::2"],
        ["route append 2001:db8:3::/48 via 2001:db8:2::2"],
        ["route del 2001:db8:3::/48 via 2001:db8:1::2"],
        ["route replace 2001:db8:3::/48 via 2001:db8:1::3"],
        [
            "route replace 2001:db8:3::/48"
            " nexthop via 2001:db8:1::2 weight 3 nexthop via 2001:db8:2::2"
        ],
        ["route del 2001:db8:3::/48"],
        ["route add 2001:db8:3::/48 dev p1", "route append 2001:db8:3::/48 dev p2"],
        ["route del 2001:db8:3::/48 dev p1"],
        ["route replace 2001:db8:3::/48 via 2001:db8:1::2 metric 10"],
        ["route add blackhole 2001:db8:4::/48"],
        ["route add 2001:db8:5::/48 from 2001:db8:9::/64 via 2001:db8:1::2"],
        ["route del 2001:db8:5::/48 from 2001:db8:9::/64 via 2001:db8:1::2"],
        ["route add 2001:db8:6::/48 via 2001:db8:1::2 mtu 1400"],
        ["link set p1 down"],
    ],
    "policy": [
        ["rule add from 192.0.2.0/24 table 100"],
        ["rule del from 192.0.2.0/24 table 100"],
        ["-6 rule add iif p1 table 100"],
        ["-6 rule del iif p1 table 100"],
        ["rule add priority 1000 l3mdev"],
        ["rule del priority 0"],
        ["rule add priority 0 table local"],
    ],
}
