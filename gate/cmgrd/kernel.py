# SPDX-License-Identifier: BSD-3-Clause
"""What the kernel says over Netlink, as typed values.

Addresses are bytes in network byte order, 4 or 16 of them; a prefix's bits beyond its length are 0.
"""

from dataclasses import dataclass, field
from enum import IntEnum, StrEnum

AF_UNSPEC, AF_INET, AF_BRIDGE, AF_INET6 = 0, 2, 7, 10

IFF_UP = 0x1
IFF_LOOPBACK = 0x8
IFF_POINTOPOINT = 0x10
IFF_NOARP = 0x80
IFF_LOWER_UP = 0x10000

NUD_REACHABLE, NUD_STALE, NUD_DELAY, NUD_PROBE = 0x02, 0x04, 0x08, 0x10
NUD_NOARP, NUD_PERMANENT = 0x40, 0x80
NTF_PROXY = 0x08

RTN_UNICAST, RTN_LOCAL, RTN_MULTICAST = 1, 2, 5
RTNH_F_DEAD, RTNH_F_ONLINK, RTNH_F_LINKDOWN = 0x01, 0x04, 0x10
RT_TABLE_DEFAULT, RT_TABLE_MAIN, RT_TABLE_LOCAL = 253, 254, 255

NLM_F_REPLACE, NLM_F_EXCL, NLM_F_CREATE, NLM_F_APPEND = 0x100, 0x200, 0x400, 0x800

# Netconf.ifindex of net.ipv4.conf.all and of net.ipv4.conf.default.
NETCONF_ALL, NETCONF_DEFAULT = -1, -2


@dataclass(frozen=True, slots=True)
class Vrf:
    """A network namespace. `number` 0: cmgrd's own; `netns`: its SO_NETNS_COOKIE, 0 if unknown."""

    number: int = 0
    name: str = ""
    netns: int = 0


MAIN_VRF = Vrf()


class Family(StrEnum):
    """A part of the kernel's state that is dumped, and dumped again, by itself."""

    LINK = "link"
    ADDRESS = "address"
    NETCONF = "netconf"
    QDISC = "qdisc"
    RULE = "rule"
    CHAIN = "chain"
    POLICY = "policy"
    SA = "sa"
    NEIGH = "neigh"
    NEXTHOP = "nexthop"
    ROUTE4 = "route4"
    ROUTE6 = "route6"
    MROUTE = "mroute"
    FDB = "fdb"
    MDB = "mdb"
    VLAN = "vlan"


class Change(IntEnum):
    """What a message says about its object."""

    NEW = 0  # is there, as given
    DELETED = 1


@dataclass(frozen=True, slots=True)
class Link:
    """RTM_NEWLINK. `lower`: interface index of the device below, 0 if none or in another namespace."""

    ifindex: int
    name: str
    flags: int  # IFF_*
    mtu: int
    mac: bytes  # b"" for a device without
    kind: str  # "" for a device without
    master: int
    lower: int
    mtu6: int  # 0: IPv6 doesn't run on it
    disable_ipv6: bool
    xdp: bool  # a program is attached
    table: int = 0  # of a VRF device: its routing table


@dataclass(frozen=True, slots=True)
class Address:
    """RTM_NEWADDR."""

    family: int
    ifindex: int
    plen: int
    address: bytes


@dataclass(frozen=True, slots=True)
class Netconf:
    """RTM_NEWNETCONF: net.ipv4.conf.* or net.ipv6.conf.* of a device. None: the message doesn't tell, as before."""

    family: int
    ifindex: int  # or NETCONF_ALL, NETCONF_DEFAULT
    forwarding: bool | None
    rp_filter: int | None
    ignore_linkdown: bool | None
    proxy: bool | None = None  # proxy_arp, proxy_ndp
    mc_forwarding: bool | None = None


@dataclass(frozen=True, slots=True)
class Qdisc:
    """RTM_NEWQDISC."""

    ifindex: int
    handle: int
    parent: int
    kind: str


@dataclass(frozen=True, slots=True)
class Rule:
    """RTM_NEWRULE, in the kernel's words. `unknown` says what of it isn't in the other fields, "" if nothing."""

    family: int
    priority: int
    action: int  # FR_ACT_*
    table: int
    invert: bool = False
    src: bytes = b""
    src_plen: int = 0
    dst: bytes = b""
    dst_plen: int = 0
    tos: int = 0  # type of service or traffic class, the bits of tos_mask
    tos_mask: int = 0  # 0: any
    mark: int = 0
    mask: int = 0  # of mark; 0: any
    iif: str = ""
    oif: str = ""
    uids: tuple[int, int] | None = None
    protocol: int = 0  # of IP; 0: any
    sport: tuple[int, int] | None = None
    dport: tuple[int, int] | None = None
    goto: int = 0  # a priority
    goto_resolved: bool = True
    suppress: int | None = None  # prefixes up to this length don't count
    l3mdev: bool = False
    unknown: str = ""


@dataclass(frozen=True, slots=True)
class Multipath:
    """How Linux chooses among a route's next hops: net.ipv4 and net.ipv6.fib_multipath_hash_policy, and whether
    net.ipv4.fib_multipath_use_neigh is set.
    """

    policy4: int
    policy6: int
    use_neigh: bool


@dataclass(frozen=True, slots=True)
class MultipathSeed:
    """net.ipv4.fib_multipath_hash_seed, of both families; 0: the hash's key is random."""

    value: int


@dataclass(frozen=True, slots=True)
class PathMtu:
    """net.ipv4.ip_forward_use_pmtu: whether forwarded packets go by what Linux has learned of a path."""

    used: bool


@dataclass(frozen=True, slots=True)
class Namespace:
    """The network namespace, by SO_NETNS_COOKIE of its sockets (0: not known)."""

    cookie: int


@dataclass(frozen=True, slots=True)
class Chain:
    """NFT_MSG_NEWCHAIN. `family`: NFPROTO_*; `hook`: of the netfilter core, -1 if none leads to the chain; `accepts`:
    packets that no rule decides about pass.
    """

    family: int
    table: str
    name: str
    hook: int
    accepts: bool = False


@dataclass(frozen=True, slots=True)
class Clamp:
    """Lowers the maximum segment size of TCP packets with (flags & mask) == value, between these interfaces ("": any):
    to `size`, or where that is 0 to what the routes' MTU lets through.
    """

    mask: int
    value: int
    input: str
    output: str
    size: int


@dataclass(frozen=True, slots=True)
class ChainRule:
    """NFT_MSG_NEWRULE, in a chain of nftables. `clamp` None: what it does isn't known to the fast path."""

    family: int
    table: str
    chain: str
    clamp: Clamp | None


@dataclass(frozen=True, slots=True)
class Selector:
    """struct xfrm_selector. Addresses have 16 bytes, IPv4 fills the first 4; ports are as on the wire."""

    family: int = 0
    dst: bytes = bytes(16)
    dst_plen: int = 0
    src: bytes = bytes(16)
    src_plen: int = 0
    proto: int = 0  # 0: any
    dport: bytes = bytes(2)
    dport_mask: bytes = bytes(2)
    sport: bytes = bytes(2)
    sport_mask: bytes = bytes(2)
    ifindex: int = 0


@dataclass(frozen=True, slots=True)
class Template:
    """struct xfrm_user_tmpl: what a policy wants a packet to have been, or to be, treated with."""

    family: int
    dst: bytes  # 16 bytes
    src: bytes
    spi: bytes  # as on the wire; zeros: any
    proto: int
    mode: int  # XFRM_MODE_*
    reqid: int
    optional: bool
    auth_algs: int
    enc_algs: int


@dataclass(frozen=True, slots=True)
class Policy:
    """XFRM_MSG_NEWPOLICY. `unknown` says what of it isn't in the other fields, "" if nothing."""

    family: int
    index: int
    direction: int  # XFRM_POLICY_IN, _OUT, _FWD: 0, 1, 2; more: of a socket
    selector: Selector = Selector()
    priority: int = 0
    action: int = 0  # XFRM_POLICY_ALLOW, _BLOCK
    icmp: bool = False
    mark: int = 0
    mark_mask: int = 0
    if_id: int = 0
    templates: tuple[Template, ...] = ()
    unknown: str = ""

    @property
    def of_fptun(self) -> bool:
        """It's fp-rte's own: only special exceptions have its mark (FPTUN_MARK of gate/bpf/fptun/fptun.h)."""
        return (self.mark, self.mark_mask) == (0xFB000000, 0xFF000000)


@dataclass(frozen=True, slots=True)
class PolicyDefault:
    """XFRM_MSG_GETDEFAULT: whether packets that no policy is for are dropped, where they're forwarded or sent."""

    blocks: bool


@dataclass(frozen=True, slots=True)
class SaKey:
    """What tells a security association from others."""

    family: int
    proto: int  # IPPROTO_ESP, IPPROTO_AH, ...
    dst: bytes  # 16 bytes
    spi: bytes  # 4, as on the wire
    mark: int = 0
    mark_mask: int = 0


@dataclass(frozen=True, slots=True)
class Algorithm:
    """Of an SA. The key is never shown."""

    name: str
    key: bytes = field(repr=False)
    icv_len: int = 0  # bytes that a packet carries


@dataclass(frozen=True, slots=True)
class Encap:
    """struct xfrm_encap_tmpl; ports as on the wire."""

    type: int
    sport: bytes
    dport: bytes


@dataclass(frozen=True, slots=True)
class Sa:
    """XFRM_MSG_NEWSA, an IPsec security association. `unknown`: as Policy's."""

    key: SaKey
    src: bytes  # 16 bytes
    mode: int  # XFRM_MODE_*
    flags: int  # XFRM_STATE_*
    extra_flags: int  # XFRM_SA_XFLAG_*
    reqid: int
    selector: Selector
    replay_window: int
    limits: tuple[int, int, int, int]  # bytes soft and hard, packets soft and hard
    used: tuple[int, int]  # bytes, packets
    added: int  # when, Unix time
    replay: tuple[int, int, int, int] = (0, 0, 0, 0)  # oseq, oseq_hi, seq, seq_hi
    crypt: Algorithm | None = None
    auth: Algorithm | None = None
    aead: Algorithm | None = None
    encap: Encap | None = None
    direction: int = 0  # XFRM_SA_DIR_*, 0: not said
    if_id: int = 0
    set_mark: int = 0
    set_mark_mask: int = 0
    unknown: str = ""


@dataclass(frozen=True, slots=True)
class SaMigration:
    """XFRM_MSG_MIGRATE: SAs and policies have other addresses now."""


@dataclass(frozen=True, slots=True)
class MulticastRoute:
    """RTM_NEWROUTE of RTNL_FAMILY_IPMR, IP6MR. The key: family, table, source, group (zeros: any)."""

    family: int  # AF_INET, AF_INET6
    table: int
    source: bytes
    group: bytes
    iif: int  # 0: not resolved
    oifs: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Fdb:
    """RTM_NEWNEIGH of PF_BRIDGE: where a bridge or a tunnel device has seen an address. The last three are no key."""

    ifindex: int  # the port, or the device itself
    mac: bytes
    vlan: int  # 0: none
    remote: bytes  # of a tunnel: address; b"" else
    vni: int
    master: int  # the bridge; 0: an entry of the device's own
    state: int  # NUD_*
    flags: int  # NTF_*


@dataclass(frozen=True, slots=True)
class Mdb:
    """An entry of RTM_NEWMDB: a port that wants a group's packets."""

    bridge: int
    port: int
    vlan: int
    group: bytes  # an IP address, or a MAC of 6 bytes
    permanent: bool
    flags: int  # MDB_FLAGS_*


@dataclass(frozen=True, slots=True)
class BridgeVlan:
    """An entry of RTM_NEWVLAN: VLANs `first` to `last` of a bridge or its port."""

    ifindex: int
    first: int
    last: int
    flags: int  # BRIDGE_VLAN_INFO_*


@dataclass(frozen=True, slots=True)
class Several:
    """Objects that one message brings."""

    values: "tuple[Mdb | BridgeVlan, ...]"


@dataclass(frozen=True, slots=True)
class NextHopObject:
    """RTM_NEWNEXTHOP: only its number and a group's kind; routes that use it carry its content."""

    number: int
    # No group; or one that chooses by the flow's hash alone (a resilient one doesn't), with weights that a route's
    # message can carry, which are 256 at the most.
    hashed: bool = True


Object = (
    Link
    | Address
    | Netconf
    | Qdisc
    | Rule
    | Multipath
    | MultipathSeed
    | PathMtu
    | Namespace
    | Chain
    | ChainRule
    | Policy
    | PolicyDefault
    | Sa
    | SaKey
    | SaMigration
    | NextHopObject
    | MulticastRoute
    | Fdb
    | Mdb
    | BridgeVlan
    | Several
)


@dataclass(frozen=True, slots=True)
class Message:
    """A decoded Netlink message. `value` None: something of the family changed, only a dump tells what."""

    family: Family
    change: Change
    name: str  # RTM_NEWROUTE, ...
    flags: int  # NLM_F_*
    value: Object | None
