# SPDX-License-Identifier: BSD-3-Clause
"""SAs and policies of XFRM.

An object is told when its SA comes, with the sequence numbers and counters that Linux had then, and stays as it is:
what moves by itself moves in the fast path, and Linux is told of it (gate/fpsd). What isn't expressed in fpc_ipsec.h
makes an object FPC_IPSEC_LINUX. Such an SA is told without its keys.
"""

import ipaddress
import socket
import sys
from typing import Any

from _sluice import ffi, lib
from sluice.cmgrd.feature import Feature, Mirror
from sluice.cmgrd.kernel import (
    AF_INET,
    AF_INET6,
    Algorithm,
    Change,
    Family,
    Message,
    Policy,
    Sa,
    SaKey,
    SaMigration,
    Selector,
)
from sluice.fpc import mask, to_body

ESP, AH = 50, 51
PROTOCOLS = {ESP: "esp", AH: "ah"}
MODES = {lib.FPC_IPSEC_TRANSPORT, lib.FPC_IPSEC_TUNNEL, lib.FPC_IPSEC_BEET}
DIRECTIONS = {lib.FPC_IPSEC_IN: "in", lib.FPC_IPSEC_OUT: "out", lib.FPC_IPSEC_FWD: "fwd"}
UDP_ENCAP_ESPINUDP = 2

CIPHERS = {
    "ecb(cipher_null)": lib.FPC_IPSEC_NULL,
    "cbc(des3_ede)": lib.FPC_IPSEC_3DES_CBC,
    "cbc(aes)": lib.FPC_IPSEC_AES_CBC,
    "rfc3686(ctr(aes))": lib.FPC_IPSEC_AES_CTR,
}
AEADS = {
    "rfc4106(gcm(aes))": lib.FPC_IPSEC_AES_GCM,
    "rfc4543(gcm(aes))": lib.FPC_IPSEC_AES_GMAC,
    "rfc7539esp(chacha20,poly1305)": lib.FPC_IPSEC_CHACHA20_POLY1305,
}
AUTHS = {
    "digest_null": lib.FPC_IPSEC_NO_AUTH,
    "hmac(md5)": lib.FPC_IPSEC_HMAC_MD5,
    "hmac(sha1)": lib.FPC_IPSEC_HMAC_SHA1,
    "hmac(sha256)": lib.FPC_IPSEC_HMAC_SHA256,
    "hmac(sha384)": lib.FPC_IPSEC_HMAC_SHA384,
    "hmac(sha512)": lib.FPC_IPSEC_HMAC_SHA512,
    "xcbc(aes)": lib.FPC_IPSEC_AES_XCBC,
}
# By the bits of linux/xfrm.h.
STATE_FLAGS = {
    1: lib.FPC_IPSEC_NOECN,
    2: lib.FPC_IPSEC_DECAP_DSCP,
    4: lib.FPC_IPSEC_NOPMTUDISC,
    32: lib.FPC_IPSEC_AF_UNSPEC,
    64: lib.FPC_IPSEC_ALIGN4,
    128: lib.FPC_IPSEC_ESN,
}
EXTRA_FLAGS = {1: lib.FPC_IPSEC_DONT_ENCAP_DSCP, 2: lib.FPC_IPSEC_OSEQ_MAY_WRAP}
LINUX: int = lib.FPC_IPSEC_LINUX
# What moves by itself.
MOVING = ("oseq", "oseq_hi", "seq", "seq_hi", "bytes", "packets")


def copy(target: Any, data: bytes) -> None:
    """Into an array that has room for it."""
    ffi.memmove(target, data, len(data))


def number(port: bytes) -> int:
    """Of bytes as on the wire, an integer that has them in memory."""
    return int.from_bytes(port, sys.byteorder)


def fill_selector(target: Any, s: Selector) -> None:
    """`target`: struct fpc_ipsec_selector."""
    copy(target.dst, s.dst)
    copy(target.src, s.src)
    target.dport, target.dport_mask = number(s.dport), number(s.dport_mask)
    target.sport, target.sport_mask = number(s.sport), number(s.sport_mask)
    target.family, target.proto, target.ifindex = s.family, s.proto, s.ifindex
    target.dst_plen, target.src_plen = s.dst_plen, s.src_plen


def usable(algorithm: Algorithm | None) -> bool:
    """Whether its key is one. A recording, and a kernel in lockdown, have zeros instead."""
    return algorithm is None or not algorithm.key or any(algorithm.key)


def empty(vrf: int, kind: int) -> Any:
    """A struct fpc_ipsec with nothing but that."""
    m = ffi.new("struct fpc_ipsec *")
    m.vrf, m.kind = vrf, kind
    return m


def of_key(vrf: int, key: SaKey) -> Any:
    """A struct fpc_ipsec of an SA, with the key."""
    m = empty(vrf, lib.FPC_IPSEC_SA)
    m.family, m.proto, m.spi = key.family, key.proto, number(key.spi)
    copy(m.dst, key.dst)
    m.mark, m.mark_mask = key.mark, key.mark_mask
    return m


def of_sa(vrf: int, sa: Sa) -> Any:
    """A struct fpc_ipsec."""
    m = of_key(vrf, sa.key)
    s = m.sa
    fill_selector(s.sel, sa.selector)
    copy(s.src, sa.src)
    s.mode, s.direction = sa.mode, sa.direction
    s.reqid, s.if_id = sa.reqid, sa.if_id
    s.output_mark, s.output_mask = sa.set_mark, sa.set_mark_mask
    s.replay_window = sa.replay_window
    s.soft_bytes, s.hard_bytes, s.soft_packets, s.hard_packets = sa.limits
    s.oseq, s.oseq_hi, s.seq, s.seq_hi = sa.replay
    s.bytes, s.packets = sa.used
    s.add_time = sa.added
    flags = sum(flag for bit, flag in STATE_FLAGS.items() if sa.flags & bit)
    flags |= sum(flag for bit, flag in EXTRA_FLAGS.items() if sa.extra_flags & bit)
    linux = bool(sa.unknown) or sa.mode not in MODES
    linux |= sa.replay_window > lib.IPSEC_WINDOW_MAX
    if sa.encap:
        s.encap = min(sa.encap.type, 255)
        s.encap_sport, s.encap_dport = number(sa.encap.sport), number(sa.encap.dport)
        linux |= sa.encap.type != UDP_ENCAP_ESPINUDP
    if not fill_algorithms(m, sa) or linux:
        flags |= LINUX
        s.cipher = s.auth = s.icv_len = s.key_len = s.auth_key_len = 0
        copy(m.key, bytes(lib.FPC_IPSEC_KEY_MAX))
        copy(m.auth_key, bytes(lib.FPC_IPSEC_AUTH_KEY_MAX))
    m.flags = flags
    return m


def fill_algorithms(m: Any, sa: Sa) -> bool:
    """Whether the fast path's contract has them."""
    s = m.sa
    crypt, cipher = sa.aead or sa.crypt, None
    if crypt:
        cipher = (AEADS if sa.aead else CIPHERS).get(crypt.name)
        if cipher is None or len(crypt.key) > lib.FPC_IPSEC_KEY_MAX or not usable(crypt):
            return False
        s.cipher, s.key_len = cipher, len(crypt.key)
        copy(m.key, crypt.key)
    if sa.aead:
        s.icv_len = sa.aead.icv_len
    if sa.auth:
        auth = AUTHS.get(sa.auth.name)
        if auth is None or len(sa.auth.key) > lib.FPC_IPSEC_AUTH_KEY_MAX or not usable(sa.auth):
            return False
        s.auth, s.auth_key_len = auth, len(sa.auth.key)
        s.icv_len = sa.auth.icv_len if auth else 0
        copy(m.auth_key, sa.auth.key)
    return not (sa.aead and sa.auth)


def policy_key(vrf: int, policy: Policy) -> Any:
    """A struct fpc_ipsec of a policy, with the key."""
    m = empty(vrf, lib.FPC_IPSEC_POLICY)
    m.index = policy.index
    return m


def of_policy(vrf: int, policy: Policy) -> Any:
    """A struct fpc_ipsec."""
    m = policy_key(vrf, policy)
    p = m.policy
    fill_selector(p.sel, policy.selector)
    p.priority, p.action, p.if_id = policy.priority, policy.action, policy.if_id
    p.mark, p.mark_mask = policy.mark, policy.mark_mask
    p.n_tmpls = min(len(policy.templates), lib.FPC_IPSEC_TMPLS)
    linux = bool(policy.unknown) or len(policy.templates) > lib.FPC_IPSEC_TMPLS
    for target, wanted in zip(p.tmpl, policy.templates, strict=False):
        copy(target.dst, wanted.dst)
        copy(target.src, wanted.src)
        target.spi, target.reqid = number(wanted.spi), wanted.reqid
        target.auth_algs, target.enc_algs = wanted.auth_algs, wanted.enc_algs
        target.family, target.proto = wanted.family & 0xFF, wanted.proto
        target.mode, target.optional = wanted.mode, wanted.optional
        linux |= wanted.proto not in PROTOCOLS or wanted.mode not in MODES
    m.flags = (LINUX if linux else 0) | (lib.FPC_IPSEC_ICMP if policy.icmp else 0)
    return m


class Sync(Feature):
    """SAs and policies of a namespace."""

    key_size = lib.FPC_IPSEC_KEY_SIZE
    families = frozenset({Family.SA, Family.POLICY})

    def __init__(self, **options: object) -> None:
        super().__init__(**options)  # type: ignore[arg-type]
        # By key: what of the object doesn't move by itself.
        self.known: dict[Family, Mirror[bytes, bytes]] = {
            Family.SA: Mirror(),
            Family.POLICY: Mirror(),
        }

    def begin(self, family: Family) -> None:
        self.known[family].begin()

    def abandon(self, family: Family) -> None:
        self.known[family].abandon()

    def end(self, family: Family) -> None:
        for key in self.known[family].end():
            self.drop(family, key)

    def handle(self, message: Message, *, dumped: bool, late: bool) -> None:
        if late:
            # A dump may have seen more than it tells, also another SA with the same key: to apply it could take away
            # what is there, with its sequence numbers.
            self.redump(message.family, "a message during a dump")
            return
        gone = message.change is Change.DELETED
        match message.value:
            case SaMigration():
                self.redump(Family.SA, message.name)
                self.redump(Family.POLICY, message.name)
            case SaKey() as sa_key:
                self.drop(Family.SA, self.key_of(of_key(self.vrf, sa_key)))
            case Sa() as sa if sa.key.proto in PROTOCOLS:
                self.put_sa(sa, message)
            case Policy() as policy if policy.direction in DIRECTIONS and not policy.of_fptun:
                key = self.key_of(policy_key(self.vrf, policy))
                if gone:
                    self.drop(Family.POLICY, key)
                else:
                    body = self.body(of_policy(self.vrf, policy))
                    self.known[Family.POLICY].put(key, body)
                    self.set(body)

    def put_sa(self, sa: Sa, message: Message) -> None:
        made = of_sa(self.vrf, sa)
        key, whole = self.key_of(made), self.body(made)
        known = self.known[Family.SA]
        if message.name == "XFRM_MSG_UPDSA" and key in known:
            # The kernel takes over a part of what it was asked for, but tells all of that.
            self.redump(Family.SA, message.name)
            return
        still = self.still(made)
        if known.put(key, still) != still:
            self.set(whole)

    def drop(self, family: Family, key: bytes) -> None:
        self.known[family].pop(key, None)
        self.delete(key)

    def key_of(self, made: Any) -> bytes:
        return bytes(ffi.buffer(made, self.key_size))

    def body(self, made: Any) -> bytes:
        return to_body(self.number, made)

    def still(self, made: Any) -> bytes:
        """Of an SA without what moves by itself; changes `made`."""
        for field in MOVING:
            setattr(made.sa, field, 0)
        return self.body(made)

    def shown(self, body: bytes) -> bytes:
        m = ffi.new("struct fpc_ipsec *")
        ffi.memmove(m, body, len(body))
        whole = self.still(m) if m.kind == lib.FPC_IPSEC_SA else body
        return mask(self.number, whole)

    def describe(self, key: bytes, body: bytes | None) -> str:
        m = ffi.new("struct fpc_ipsec *")
        ffi.memmove(m, body or key, len(body or key))
        if m.kind == lib.FPC_IPSEC_SA:
            text = f"SA {PROTOCOLS.get(m.proto, m.proto)} {address(m.dst, m.family)}"
            text += f" spi {socket.ntohl(m.spi):#x}" + (
                f" mark {m.mark:#x}/{m.mark_mask:#x}" if m.mark_mask else ""
            )
            if body:
                text += f" reqid {m.sa.reqid} mode {m.sa.mode}"
        else:
            text = f"policy {DIRECTIONS.get(m.index & 7, '')} {m.index}"
            if body:
                s = m.policy.sel
                text += f" {address(s.src, s.family)}/{s.src_plen} {address(s.dst, s.family)}/{s.dst_plen}"
                text += f" priority {m.policy.priority}"
        return text + (" Linux's" if body and m.flags & LINUX else "")


def address(data: Any, family: int) -> str:
    """For people."""
    size = {AF_INET: 4, AF_INET6: 16}.get(family)
    return str(ipaddress.ip_address(bytes(data)[:size])) if size else "any"
