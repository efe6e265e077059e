r"""Two hosts, and a network that can be reached through either of two next hops.

      h1                        appliance                        h2
    192.0.2.2/24     left     p1        p2      right     198.51.100.2/24
    2001:db8:1::2/64 ------- .1 ::1   .1 ::1 -----+------ 2001:db8:2::2/64
                                                  |             \
                                                  |              far: 203.0.113.1, 2001:db8:f::1
                                                  |             /
                                                  +------ 198.51.100.3/24
                                                          2001:db8:2::3/64
                                                                 h3
The suites on forwarding use it.
"""

from dataclasses import replace

from lab.topologies import two_hosts
from lab.topology import Host, Route

FAR = ("203.0.113.1/32", "2001:db8:f::1/128")

TOPOLOGY = replace(
    two_hosts.TOPOLOGY,
    name="next_hops",
    hosts=(
        two_hosts.TOPOLOGY.host("h1"),
        replace(two_hosts.TOPOLOGY.host("h2"), loopback=FAR),
        Host(
            name="h3",
            link="right",
            mac="02:00:00:00:02:03",
            addresses=("198.51.100.3/24", "2001:db8:2::3/64"),
            routes=(
                Route(destination="default", via="198.51.100.1"),
                Route(destination="default", via="2001:db8:2::1"),
            ),
            loopback=FAR,
        ),
    ),
    appliance=replace(
        two_hosts.TOPOLOGY.appliance,
        routes=(
            Route(destination="203.0.113.0/25", via="198.51.100.2"),
            Route(destination="2001:db8:f::/64", via="2001:db8:2::2"),
        ),
    ),
)
