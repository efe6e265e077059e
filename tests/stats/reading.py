"""Linux's counters as programs read them, with libfp-stats.so preloaded or without."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.lib import product
from tests.lib.rig import Node

TOP = Path(__file__).resolve().parents[2]
SOURCES = (
    "ip",
    "ip stats",
    "ip6",
    "dev",
    "sysfs",
    "snmp",
    "netstat",
    "snmp6",
    "dev_snmp6",
    "nstat",
)

type Numbers = dict[str, int]


def library() -> Path:
    if product.IN_VM:
        return Path("/usr/lib/sluice/libfp-stats.so")
    return product.build_dir() / "gate/stats/libfp-stats.so"


@dataclass
class Reader:
    """Runs programs in a namespace. `instance` None: nothing is preloaded."""

    node: Node
    instance: str | None

    def environment(self) -> list[str]:
        if self.instance is None:
            return []
        return [f"LD_PRELOAD={library()}", f"SLUICE_INSTANCE={self.instance}"]

    def run(self, *argv: str) -> str:
        return self.node.run("env", "-C", str(TOP), *self.environment(), *argv).stdout

    def json(self, *argv: str) -> Any:
        return json.loads(self.run(*argv))

    def python(self, code: str, *arguments: str) -> str:
        return self.run(sys.executable, "-c", code, *arguments)

    def links(self, *names: str) -> dict[str, Numbers]:
        """`ip -s -s link`: each counter by its direction and name."""
        shown = self.json("ip", "-j", "-s", "-s", "link")
        return {
            link["ifname"]: {
                f"{way}_{name}": value
                for way, counters in link["stats64"].items()
                for name, value in counters.items()
            }
            for link in shown
            if not names or link["ifname"] in names
        }

    def all(self, *names: str) -> dict[str, Numbers]:
        """Every counter of these links and of the namespace, by where it was read."""
        found: dict[str, Numbers] = {}
        for name, counters in self.links(*names).items():
            found[f"ip {name}"] = counters
        for name in names:
            (shown,) = self.json("ip", "-j", "stats", "show", "dev", name, "group", "link")
            found[f"ip stats {name}"] = numbers(shown["stats64"])
        text = self.python(READ_ALL, *names)
        found |= json.loads(text)
        for name in names:
            # That the kernel's 32-bit counters and its IPv6 ones in Netlink agree with the others is asserted there.
            found[f"netlink {name}"] = json.loads(self.python(NETLINK, name))
        found["nstat"] = self.json("nstat", "-a", "-s", "-z", "-j")["kernel"]
        return found


def numbers(tree: dict[str, Any], prefix: str = "") -> Numbers:
    """A tree's numbers by the names on the way."""
    flat: Numbers = {}
    for name, value in tree.items():
        if isinstance(value, dict):
            flat |= numbers(value, f"{prefix}{name}_")
        elif isinstance(value, int):
            flat[f"{prefix}{name}"] = value
    return flat


def moved(before: dict[str, Numbers], after: dict[str, Numbers]) -> dict[str, Numbers]:
    """What changed, by where it was read."""
    return {
        source: {
            name: value - before[source].get(name, 0)
            for name, value in counters.items()
            if value != before[source].get(name, 0)
        }
        for source, counters in after.items()
    }


READ_ALL = """
import json, os, sys
from pathlib import Path

def pairs(path, wanted):
    lines = Path(path).read_text().splitlines()
    found = {}
    for names, values in zip(lines[::2], lines[1::2]):
        kind = names.split()[0]
        if kind in wanted:
            found |= {kind + n: int(v) for n, v in zip(names.split()[1:], values.split()[1:])}
    return found

def flat(path):
    return {line.split()[0]: int(line.split()[1], 0) for line in Path(path).read_text().splitlines()}

found = {
    "snmp": pairs("/proc/net/snmp", {"Ip:", "Icmp:"}),
    "netstat": pairs("/proc/self/net/netstat", {"IpExt:"}),
    "snmp6": flat("/proc/thread-self/net/snmp6"),
}
for line in open("/proc/net/dev").readlines()[2:]:
    name, _, rest = line.partition(":")
    if name.strip() in sys.argv[1:]:
        found["dev " + name.strip()] = {f"column {i}": int(n) for i, n in enumerate(rest.split())}
for name in sys.argv[1:]:
    found["dev_snmp6 " + name] = flat(f"/proc/net/dev_snmp6/{name}")
    folder = f"/sys/class/net/{name}/statistics"
    at = os.open(folder, os.O_RDONLY)
    found["sysfs " + name] = {}
    for counter in os.listdir(folder):
        fd = os.open(counter, os.O_RDONLY, dir_fd=at)
        found["sysfs " + name][counter] = int(os.read(fd, 100))
        os.close(fd)
    os.close(at)
print(json.dumps(found))
"""

# All ways to receive; what they give must be the same. Prints the one.
NETLINK = """
import json, socket, struct, sys

def attributes(data):
    while len(data) >= 4:
        size, kind = struct.unpack_from("=HH", data)
        yield kind & 0x3fff, data[4:size]
        data = data[size + 3 & ~3:]

def messages(data, wanted):
    while len(data) >= 16:
        size, kind = struct.unpack_from("=IH", data)
        if kind == wanted:
            yield data[16:size]
        data = data[size + 3 & ~3:]

def receive(opened, how, more=0):
    if how == "recv":
        return opened.recv(65536, more)
    if how == "recvfrom":
        return opened.recvfrom(65536, more)[0]
    if how == "recv_into":
        room = bytearray(65536)
        return bytes(room[:opened.recv_into(room, 65536, more)])
    if how == "pieces":
        room = [bytearray(100), bytearray(1), bytearray(65535)]
        size = opened.recvmsg_into(room, 0, more)[0]
        return b"".join(bytes(part) for part in room)[:size]
    if how == "read" and not more:
        import os
        return os.read(opened.fileno(), 65536)
    return opened.recvmsg(65536, 0, more)[0]

def ask(kind, body, how, dump, peek=False):
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as opened:
        opened.send(struct.pack("=IHHII", 16 + len(body), kind, 0x301 if dump else 1, 1, 0) + body)
        if peek:
            receive(opened, how, socket.MSG_PEEK)
        data = receive(opened, how)
        while dump and struct.unpack_from("=H", data[-16:], 0)[0] != 20 and not data.endswith(bytes(4)):
            data += receive(opened, how)
        return data

index = socket.if_nametoindex(sys.argv[1])
link = struct.pack("=BxHiII", 0, 0, index, 0, 0)
stats = struct.pack("=B3xII", 0, index, 1)
results = []
for how in ("recv", "recvfrom", "recv_into", "recvmsg", "pieces", "read"):
    for peek in (False, True):
        found = {}
        for body in messages(ask(18, link, how, False, peek), 16):
            for kind, value in attributes(body[16:]):
                if kind == 23:
                    found["64"] = struct.unpack(f"={len(value) // 8}Q", value)
                if kind == 7:
                    found["32"] = struct.unpack(f"={len(value) // 4}I", value)
                if kind == 26:
                    for family, inner in attributes(value):
                        for name, words in attributes(inner):
                            if family == 10 and name == 3:
                                found["inet6"] = struct.unpack(f"={len(words) // 8}Q", words)
        for body in messages(ask(94, stats, how, False, peek), 92):
            for kind, value in attributes(body[12:]):
                if kind == 1:
                    found["stats"] = struct.unpack(f"={len(value) // 8}Q", value)
        results.append(found)
assert all(found == results[0] for found in results), results
one = results[0]
assert one["stats"] == one["64"], one
assert one["32"] == tuple(n % 2**32 for n in one["64"][:len(one["32"])]), one
print(json.dumps({f"{kind} {i}": n for kind in ("64", "inet6") for i, n in enumerate(one[kind])}))
"""
