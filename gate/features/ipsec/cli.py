# SPDX-License-Identifier: BSD-3-Clause
"""fp-cli sas, fp-cli policies. Keys of ciphers are never shown.

Keys of `-j` of sas, one object an SA: vrf, src, dst (outer addresses), spi (hex), proto (esp, ah),
mode (transport, tunnel, beet), cipher, auth, icv (bytes), window (packets of the replay check), esn,
encap (null, or "SPORT-DPORT" of UDP), by (fast: the fast path; linux: Linux handles its packets),
packets, bytes, sent, received (sequence numbers), late, replays, wrong (packets outside the window,
seen before, with a wrong ICV). The last seven are the fast path's own.

Keys of `-j` of policies, one object a policy: vrf, direction (in, out, fwd), priority, from, to
(prefixes), selectors (the others, in words), action (allow, block, protect, linux), sa (SPI of the SA
that serves it, null: none). `index` is the kernel's.
"""

import argparse
import socket
from typing import Any

from _sluice import ffi, lib
from sluice.cli.command import Command, Row
from sluice.cli.view import Struct, View

MODES = {
    lib.FPC_IPSEC_TRANSPORT: "transport",
    lib.FPC_IPSEC_TUNNEL: "tunnel",
    lib.FPC_IPSEC_BEET: "beet",
}
DIRECTIONS = {lib.FPC_IPSEC_IN: "in", lib.FPC_IPSEC_OUT: "out", lib.FPC_IPSEC_FWD: "fwd"}
PROTOCOLS = {50: "esp", 51: "ah"}
CIPHERS = {
    lib.FPC_IPSEC_NULL: "null",
    lib.FPC_IPSEC_3DES_CBC: "3des-cbc",
    lib.FPC_IPSEC_AES_CBC: "aes-cbc",
    lib.FPC_IPSEC_AES_CTR: "aes-ctr",
    lib.FPC_IPSEC_AES_GCM: "aes-gcm",
    lib.FPC_IPSEC_AES_GMAC: "aes-gmac",
    lib.FPC_IPSEC_CHACHA20_POLY1305: "chacha20-poly1305",
}
AUTHS = {
    lib.FPC_IPSEC_HMAC_MD5: "md5",
    lib.FPC_IPSEC_HMAC_SHA1: "sha1",
    lib.FPC_IPSEC_HMAC_SHA256: "sha256",
    lib.FPC_IPSEC_HMAC_SHA384: "sha384",
    lib.FPC_IPSEC_HMAC_SHA512: "sha512",
    lib.FPC_IPSEC_AES_XCBC: "aes-xcbc",
}


def address(family: int, field: Struct) -> str:
    """As people write it."""
    raw = bytes(ffi.buffer(field))
    return socket.inet_ntop(family, raw[:4] if family == socket.AF_INET else raw[:16])


def addresses(row: Struct, family: int) -> tuple[str, str]:
    """Source and destination of a row."""
    return address(family, row.src), address(family, row.dst)


def words(sel: Struct) -> list[str]:
    """What a selector wants beside addresses."""
    found = [f"proto {sel.proto}"] if sel.proto else []
    for name, port, mask in (
        ("sport", sel.sport, sel.sport_mask),
        ("dport", sel.dport, sel.dport_mask),
    ):
        if mask:
            port, mask = socket.ntohs(port), socket.ntohs(mask)
            found.append(f"{name} {port}" + (f"/{mask:#x}" if mask != 0xFFFF else ""))
    if sel.ifindex:
        found.append(f"dev {sel.ifindex}")
    return found


def selector(sel: Struct) -> dict[str, Any]:
    """A selector in the canonical dump."""
    if sel.family not in (socket.AF_INET, socket.AF_INET6):
        return {"family": sel.family}
    src, dst = addresses(sel, sel.family)
    return {
        "src": f"{src}/{sel.src_plen}",
        "dst": f"{dst}/{sel.dst_plen}",
        "more": " ".join(words(sel)),
    }


def sas(view: View, _: argparse.Namespace) -> list[Row]:
    """All SAs that fpmd has taken."""
    states = view.stats.rows("ipsec_sa_state", "struct ipsec_sa_state_row")
    found: list[Row] = []
    for number, sa in enumerate(view.config.rows("ipsec_sa", "struct ipsec_sa_row")):
        if not sa.generation:
            continue
        src, dst = addresses(sa, sa.family)
        state = states[number]
        mine = state.generation == sa.generation
        fast = sa.why == lib.IPSEC_SA_FAST and mine and state.ready
        row: Row = {
            "vrf": sa.vrf,
            "src": src,
            "dst": dst,
            "spi": f"{socket.ntohl(sa.spi):08x}",
            "proto": PROTOCOLS.get(sa.proto, str(sa.proto)),
            "mode": MODES.get(sa.mode, str(sa.mode)),
            "cipher": CIPHERS.get(sa.cipher, "none"),
            "auth": AUTHS.get(sa.auth, "none"),
            "icv": sa.icv_len,
            "window": sa.window,
            "esn": bool(sa.flags & lib.FPC_IPSEC_ESN),
            "encap": f"{socket.ntohs(sa.encap_sport)}-{socket.ntohs(sa.encap_dport)}"
            if sa.encap
            else None,
            "by": "fast" if fast else "linux",
        }
        for name, field in (
            ("packets", "packets"),
            ("bytes", "bytes"),
            ("sent", "sent"),
            ("received", "received"),
            ("late", "replay_window"),
            ("replays", "replay"),
            ("wrong", "integrity_failed"),
        ):
            row[name] = int(getattr(state, field)) if mine else 0
        found.append(row)
    return found


def policies(view: View, _: argparse.Namespace) -> list[Row]:
    """All policies that fpmd has taken, in the order of their priorities."""
    sa_rows = view.config.rows("ipsec_sa", "struct ipsec_sa_row")
    found: list[Row] = []
    for policy in view.config.rows("ipsec_policy", "struct ipsec_policy_row"):
        if not policy.used:
            continue
        sel = policy.sel
        src, dst = addresses(sel, sel.family)
        found.append(
            {
                "vrf": policy.vrf,
                "direction": DIRECTIONS[policy.direction],
                "priority": policy.priority,
                "index": policy.index,
                "from": f"{src}/{sel.src_plen}",
                "to": f"{dst}/{sel.dst_plen}",
                "selectors": " ".join(words(sel)),
                "action": action(policy),
                "sa": f"{socket.ntohl(sa_rows[policy.sa].spi):08x}" if policy.sa else None,
            }
        )
    return sorted(
        found, key=lambda row: (row["vrf"], row["direction"], row["priority"], row["index"])
    )


def action(policy: Struct) -> str:
    """What a policy does with its packets."""
    if policy.why != lib.IPSEC_POLICY_FAST:
        return "linux"
    if policy.action == lib.FPC_IPSEC_BLOCK:
        return "block"
    return "protect" if policy.n_tmpls else "allow"


COMMANDS = (
    Command(
        name="sas",
        help="IPsec security associations",
        run=sas,
        columns=(
            ("vrf", "VRF"),
            ("src", "SOURCE"),
            ("dst", "DESTINATION"),
            ("spi", "SPI"),
            ("mode", "MODE"),
            ("cipher", "CIPHER"),
            ("auth", "AUTH"),
            ("by", "BY"),
            ("packets", "PACKETS"),
            ("bytes", "BYTES"),
            ("replays", "REPLAYS"),
            ("wrong", "WRONG"),
        ),
        nothing="The fast path knows no IPsec SA.",
    ),
    Command(
        name="policies",
        help="IPsec policies",
        run=policies,
        columns=(
            ("vrf", "VRF"),
            ("direction", "DIR"),
            ("priority", "PRIORITY"),
            ("from", "FROM"),
            ("to", "TO"),
            ("selectors", "SELECTORS"),
            ("action", "ACTION"),
            ("sa", "SA"),
        ),
        nothing="The fast path knows no IPsec policy.",
    ),
)
