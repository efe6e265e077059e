"""Shared memory of an instance that never was, made through the product's own C code, for fp-cli to look at."""

import socket
from pathlib import Path
from typing import Any

from _sluice import ffi, lib

# A C struct; cffi has no types for these.
type Struct = Any
NODE = 1 << 31 | 1 << 29  # stored in full


class Instance:
    """Two files in a folder; rows are written in place."""

    def __init__(self, folder: Path, name: str) -> None:
        self.name = name
        self.settings = ffi.new("struct settings *")
        lib.settings_init(self.settings)
        self.settings.max_ifaces = 16
        self.settings.max_neighs = 64
        self.settings.max_nexthops = 64
        self.settings.max_lines4 = self.settings.max_lines6 = 4096
        self.config = self.create(folder / f"sluice.{name}", lib.feature_config_tables)
        self.stats = self.create(folder / f"sluice.{name}.stats", lib.feature_stats_tables)
        self.lines = {4: 16, 6: 16}

    def create(self, path: Path, tables: Any) -> Struct:
        shm = ffi.gc(ffi.new("struct shm *"), lib.shm_detach)
        descriptions = ffi.new("struct shm_table_desc[64]")
        count = tables(descriptions, self.settings)
        err = ffi.new("struct err *")
        assert not lib.shm_create(shm, str(path).encode(), descriptions, count, err), ffi.string(
            err.text
        )
        return shm

    def rows(self, shm: Struct, table: str, struct: str) -> Struct:
        return ffi.cast(f"struct {struct} *", lib.shm_rows(shm, table.encode()))

    def link(self, row: int, name: str, **fields: Any) -> None:
        """Row `row` of the table iface."""
        one = self.rows(self.config, "iface", "iface_row")[row]
        one.name = name.encode()
        one.ifindex = 10 + row
        one.mtu = 1500
        for key, value in fields.items():
            setattr(one, key, value)

    def counters(self, worker: int, row: int, **fields: int) -> None:
        """What a worker counted on an interface."""
        workers = self.rows(self.stats, "worker", "worker_row")
        workers[worker].state = lib.WORKER_ON
        workers[worker].core = worker + 1
        workers[worker].loops = 1
        capacity = lib.shm_find(self.config, b"iface").capacity
        one = self.rows(self.stats, "iface_stats", "iface_stats_row")[worker * capacity + row]
        for key, value in fields.items():
            setattr(one, key, value)

    def reason(self, number: int, name: str, kind: int, counts: dict[int, int]) -> None:
        """A drop or exception reason, and how often each worker met it."""
        one = self.rows(self.stats, "reason", "reason_row")[number]
        one.name, one.text, one.kind = name.encode(), f"about {name}".encode(), kind
        rows = self.rows(self.stats, "worker_reason", "worker_reason_row")
        for worker, count in counts.items():
            rows[worker].count[number] = count

    def exceptions(self, number: int, counts: dict[tuple[int, int], int]) -> None:
        """By (worker, class): packets of a reason that were to be handed to Linux."""
        rows = self.rows(self.stats, "worker_exception", "worker_exception_row")
        for (worker, kind), count in counts.items():
            rows[worker].count[kind][number] = count

    def neighbour(
        self, row: int, iface: int, address: str, mac: str | None, *, bucket: int
    ) -> None:
        """A neighbour at the head of a bucket's chain."""
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        one = self.rows(self.config, "neigh", "neigh_row")[row]
        buckets = self.rows(self.config, "neigh_bucket", "neigh_bucket_row")
        packed = socket.inet_pton(family, address)
        ffi.memmove(one.addr, packed, len(packed))
        one.family, one.iface = family, iface
        if mac:
            ffi.memmove(one.l2, bytes.fromhex(mac.replace(":", "")), 6)
            one.valid, one.state = 1, 0x02
        one.next = buckets[bucket].first
        buckets[bucket].first = row

    def nexthop(self, row: int, kind: str, *, iface: int = 0, via: str = "", neigh: int = 0) -> int:
        """A next hop; returns its row."""
        one = self.rows(self.config, "nexthop", "nexthop_row")[row]
        one.type, one.iface, one.neigh = getattr(lib, f"NEXTHOP_{kind.upper()}"), iface, neigh
        if via:
            one.family = socket.AF_INET6 if ":" in via else socket.AF_INET
            packed = socket.inet_pton(one.family, via)
            ffi.memmove(one.gateway, packed, len(packed))
        return row

    def route(self, version: int, address: int, plen: int, nexthop: int) -> None:
        """Put a prefix into VRF 0's trie, shorter ones first."""
        vrf = self.rows(self.config, "vrf", "vrf_row")[0]
        vrf.root4 = vrf.root6 = 1
        root = self.rows(self.config, f"mtrie{version}_root", "mtrie_root_row")[1].entry
        lines = self.rows(self.config, f"mtrie{version}_line", "mtrie_line_row")
        size = 32 if version == 4 else 128
        leaf = plen << 23 | nexthop
        entries, bits, shift = root, 16, size - 16
        while plen > size - shift:
            index = address >> shift & ((1 << bits) - 1)
            if not entries[index] >> 31:
                number, self.lines[version] = self.lines[version], self.lines[version] + 16
                for i in range(256):
                    ffi.cast("uint32_t *", lines + number)[i] = entries[index]
                entries[index] = NODE | number
            entries = ffi.cast("uint32_t *", lines + (entries[index] & 0x1FFFFFFF))
            bits, shift = 8, shift - 8
        free = size - shift - plen
        first = address >> shift & ((1 << bits) - 1)
        for i in range(first, first + (1 << free)):
            self.put(entries, i, leaf)

    def put(self, entries: Struct, index: int, leaf: int) -> None:
        assert not entries[index] >> 31, "longer prefixes come later"
        entries[index] = leaf
