# SPDX-License-Identifier: BSD-3-Clause
"""FPC in Python (the contract is fpc.h): frames, objects, clients, recordings.

client = await Client.connect(path, Role.SYNC, name="cmgrd")     # asyncio
await client.set("vrf", encode("vrf", vrf=0), ack=True)

with Connection(path, Role.VIEWER, name="fp-cli") as fpmd:      # blocking
    for item in fpmd.dump("route"):
        print(item.state, decode("route", item.body))
"""

from sluice.fpc.client import Client
from sluice.fpc.connection import Connection
from sluice.fpc.error import FpcError, LostError, MalformedError, RefusedError
from sluice.fpc.frame import (
    HEAD_SIZE,
    MAX_FRAME,
    Ack,
    Decoder,
    Event,
    EventKind,
    Flag,
    Frame,
    Role,
    State,
    Stored,
    Verb,
    pack,
)
from sluice.fpc.objects import (
    FEATURES,
    Feature,
    decode,
    decode_key,
    encode,
    encode_key,
    feature,
    mask,
    new,
    to_body,
)

__all__ = [
    "FEATURES",
    "HEAD_SIZE",
    "MAX_FRAME",
    "Ack",
    "Client",
    "Connection",
    "Decoder",
    "Event",
    "EventKind",
    "Feature",
    "Flag",
    "FpcError",
    "Frame",
    "LostError",
    "MalformedError",
    "RefusedError",
    "Role",
    "State",
    "Stored",
    "Verb",
    "decode",
    "decode_key",
    "encode",
    "encode_key",
    "feature",
    "mask",
    "new",
    "pack",
    "to_body",
]
