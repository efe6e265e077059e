"""Two hosts, one on each side of the appliance.

      h1                        appliance                        h2
    192.0.2.2/24     left     p1        p2      right     198.51.100.2/24
    2001:db8:1::2/64 ------- .1 ::1   .1 ::1 ------------ 2001:db8:2::2/64

What `make run` shows.
"""

from lab.topology import Appliance, Host, Link, Port, Route, Topology

TOPOLOGY = Topology(
    name="two_hosts",
    links=(Link(name="left"), Link(name="right")),
    hosts=(
        Host(
            name="h1",
            link="left",
            mac="02:00:00:00:01:02",
            addresses=("192.0.2.2/24", "2001:db8:1::2/64"),
            routes=(
                Route(destination="default", via="192.0.2.1"),
                Route(destination="default", via="2001:db8:1::1"),
            ),
        ),
        Host(
            name="h2",
            link="right",
            mac="02:00:00:00:02:02",
            addresses=("198.51.100.2/24", "2001:db8:2::2/64"),
            routes=(
                Route(destination="default", via="198.51.100.1"),
                Route(destination="default", via="2001:db8:2::1"),
            ),
        ),
    ),
    appliance=Appliance(
        ports=(
            Port(
                name="p1",
                link="left",
                mac="02:00:00:00:01:01",
                addresses=("192.0.2.1/24", "2001:db8:1::1/64"),
            ),
            Port(
                name="p2",
                link="right",
                mac="02:00:00:00:02:01",
                addresses=("198.51.100.1/24", "2001:db8:2::1/64"),
            ),
        ),
    ),
)
