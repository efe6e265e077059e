"""A virtual machine with every kind of NIC, for tests that this machine's own kernel can't run.

              virtual machine
        p1          p2          p3
      virtio      virtio       igb (SR-IOV)
        |           |           |
        +-- cable --+         spare

No hosts: the tests run in the machine itself.
"""

from lab.topology import Appliance, Link, NicModel, Port, Topology

TOPOLOGY = Topology(
    name="seat",
    links=(Link(name="cable"), Link(name="spare")),
    hosts=(),
    appliance=Appliance(
        ports=(
            Port(name="p1", link="cable", mac="02:00:00:00:01:01"),
            Port(name="p2", link="cable", mac="02:00:00:00:01:02"),
            Port(name="p3", link="spare", mac="02:00:00:00:02:01", model=NicModel.IGB),
        ),
        memory_mib=3072,
    ),
)
