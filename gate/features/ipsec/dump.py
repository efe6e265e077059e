# SPDX-License-Identifier: BSD-3-Clause
"""SAs (without keys) and policies in the canonical dump. Which SA serves a policy is said by its SPI."""

from collections.abc import Iterator

from _sluice import ffi
from sluice.features.ipsec.cli import addresses, selector
from sluice.shm import Row, Tables


def canonical(tables: Tables) -> Iterator[Row]:
    """Each SA and each policy; and what isn't in the tables."""
    sas = tables.structs("ipsec_sa")
    for sa in sas:
        if sa.generation:
            src, dst = addresses(sa, sa.family)
            yield {
                "sa": sa.spi,
                "vrf": sa.vrf,
                "src": src,
                "dst": dst,
                "proto": sa.proto,
                "mode": sa.mode,
                "why": sa.why,
                "flags": sa.flags,
                "cipher": sa.cipher,
                "auth": sa.auth,
                "icv": sa.icv_len,
                "encap": [sa.encap, sa.encap_sport, sa.encap_dport],
                "window": sa.window,
                "reqid": sa.reqid,
                "mark": [sa.mark, sa.mark_mask],
                "if_id": sa.if_id,
                "selector": selector(sa.sel),
                "limits": [sa.soft_bytes, sa.hard_bytes, sa.soft_packets, sa.hard_packets],
            }
    for policy in tables.structs("ipsec_policy"):
        if policy.used:
            yield {
                "policy": policy.index,
                "vrf": policy.vrf,
                "priority": policy.priority,
                "action": policy.action,
                "why": policy.why,
                "selector": selector(policy.sel),
                "mark": [policy.mark, policy.mark_mask],
                "if_id": policy.if_id,
                "sa": sas[policy.sa].spi if policy.sa else None,
                "templates": [
                    bytes(ffi.buffer(ffi.addressof(policy.tmpl[i]))).hex()
                    for i in range(policy.n_tmpls)
                ],
            }
    for number, spd in enumerate(tables.structs("ipsec_spd")):
        if spd.left_out:
            yield {"spd": number, "left_out": spd.left_out}
