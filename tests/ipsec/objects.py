# SPDX-License-Identifier: BSD-3-Clause
"""SAs and policies as FPC has them, from a few words."""

import socket
from ipaddress import ip_address, ip_network
from typing import Any

from _sluice import lib

from tests.packet.harness import Router, address16, family_of

ANY = {4: "0.0.0.0/0", 6: "::/0"}
NEVER = (1 << 64) - 1


def selector(
    src: str = "",
    dst: str = "",
    *,
    version: int = 0,
    proto: int = 0,
    sport: int = 0,
    dport: int = 0,
) -> dict[str, Any]:
    """As struct fpc_ipsec_selector has it; without prefixes: all packets of a version, 0: of any."""
    if not src and not dst and not version:
        return {}
    version = version or ip_network(src or dst).version
    source, target = ip_network(src or ANY[version]), ip_network(dst or ANY[version])
    return {
        "family": family_of(source.network_address),
        "src": address16(source.network_address),
        "src_plen": source.prefixlen,
        "dst": address16(target.network_address),
        "dst_plen": target.prefixlen,
        "proto": proto,
        "sport": socket.htons(sport),
        "sport_mask": 0xFFFF if sport else 0,
        "dport": socket.htons(dport),
        "dport_mask": 0xFFFF if dport else 0,
    }


def sa(
    src: str,
    dst: str,
    spi: int,
    *,
    vrf: int = 0,
    proto: int = 50,
    cipher: int = lib.FPC_IPSEC_AES_GCM,
    auth: int = 0,
    key: bytes = bytes(range(20)),
    auth_key: bytes = b"",
    icv: int = 16,
    flags: int = 0,
    **fields: Any,
) -> dict[str, Any]:
    """An SA's object; `fields` are those of struct fpc_ipsec_sa."""
    source, target = ip_address(src), ip_address(dst)
    return {
        "vrf": vrf,
        "kind": lib.FPC_IPSEC_SA,
        "family": family_of(target),
        "proto": proto,
        "dst": address16(target),
        "spi": socket.htonl(spi),
        "flags": flags,
        "sa": {
            "src": address16(source),
            "mode": lib.FPC_IPSEC_TUNNEL,
            "cipher": cipher,
            "auth": auth,
            "icv_len": icv,
            "key_len": len(key),
            "auth_key_len": len(auth_key),
            "replay_window": 32,
            "soft_bytes": NEVER,
            "hard_bytes": NEVER,
            "soft_packets": NEVER,
            "hard_packets": NEVER,
            "add_time": 1,
            **fields,
        },
        "key": key,
        "auth_key": auth_key,
    }


def template(src: str, dst: str, **fields: Any) -> dict[str, Any]:
    """As struct fpc_ipsec_tmpl has it."""
    target = ip_address(dst)
    return {
        "src": address16(ip_address(src)),
        "dst": address16(target),
        "family": family_of(target),
        "proto": 50,
        "mode": lib.FPC_IPSEC_TUNNEL,
        "auth_algs": 0xFFFFFFFF,
        "enc_algs": 0xFFFFFFFF,
        **fields,
    }


def policy(
    direction: int,
    sel: dict[str, Any],
    *templates: dict[str, Any],
    number: int = 1,
    vrf: int = 0,
    flags: int = 0,
    **fields: Any,
) -> dict[str, Any]:
    """A policy's object; `number` tells it from others of its direction."""
    return {
        "vrf": vrf,
        "kind": lib.FPC_IPSEC_POLICY,
        "index": number * 8 | direction,
        "flags": flags,
        "policy": {"sel": sel, "n_tmpls": len(templates), "tmpl": list(templates), **fields},
    }


def shown(router: Router, table: str) -> list[Any]:
    """The rows in use of a table of SAs or policies."""
    rows = router.rows(table, f"{table}_row")
    used = {"ipsec_sa": "generation", "ipsec_policy": "used"}[table]
    return [rows[i] for i in range(1, 64) if getattr(rows[i], used)]
