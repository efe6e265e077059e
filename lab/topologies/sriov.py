"""The two hosts again, with the fast path on virtual functions (VF) of emulated igb NICs.

      h1                        appliance                        h2
    192.0.2.2/24     left   PF igb  igb PF      right     198.51.100.2/24
    2001:db8:1::2/64 ------- VF p1  p2 VF --------------- 2001:db8:2::2/64
                            .1 ::1  .1 ::1

The physical functions (PF) stay with the appliance's Linux; only the VFs belong to the fast path.
"""

from dataclasses import replace

from lab.topologies import two_hosts
from lab.topology import NicModel

TOPOLOGY = replace(
    two_hosts.TOPOLOGY,
    name="sriov",
    appliance=replace(
        two_hosts.TOPOLOGY.appliance,
        ports=tuple(
            replace(port, model=NicModel.IGB, vf=True)
            for port in two_hosts.TOPOLOGY.appliance.ports
        ),
    ),
)
