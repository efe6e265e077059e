"""Programs under libfp-stats.so while everything happens: exact, never backwards, never harmed.

h1 -- p1  router  p2 -- h2
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.proc import wait_for
from tests.lib.fastpath import FastPath
from tests.lib.frames import Wire
from tests.lib.packets import udp_frame
from tests.lib.rig import LEFT, RIGHT, Driver, Rig
from tests.lib.traffic import Stream
from tests.stats.reading import Reader, library

pytestmark = pytest.mark.functional
RATE = 500


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    with Rig(
        tmp_path_factory.mktemp("readers"),
        driver=Driver.AF_PACKET,
        settings={"FP_EXCEPTION_RATE": str(RATE)},
        silent_hosts=True,
    ) as rig:
        yield rig


@pytest.fixture
def reader(rig: Rig) -> Reader:
    return Reader(rig.router, rig.instance)


def generation(rig: Rig) -> int:
    """Which config file it is."""
    return Path(f"/dev/shm/sluice.{rig.instance}").stat().st_ino


def inside(reader: Reader) -> list[str]:
    return ["ip", "netns", "exec", reader.node.namespace, "env", *reader.environment()]


def test_packets_that_the_exception_budget_drops_are_counted_to_the_last(
    rig: Rig, reader: Reader
) -> None:
    """The generator's count is what Linux shows: forwarded, handed over and dropped together."""
    own = udp_frame((LEFT.host_mac, LEFT.host4), (LEFT.port_mac, LEFT.port4), b"own")
    through = udp_frame((LEFT.host_mac, LEFT.host4), (LEFT.port_mac, RIGHT.host4), b"through")
    before, counted = reader.links("p1")["p1"], rig.fast_path.counters()
    with Wire(rig.h1.namespace, "eth0") as wire:
        sent = wire.send([own, own, own, through] * 800, per_second=4000)
    size = 3 * len(own) + len(through)
    wait_for(
        lambda: reader.links("p1")["p1"]["rx_packets"] >= before["rx_packets"] + sent,
        "all packets",
        timeout=10,
        interval=0.2,
    )
    after, delta = reader.links("p1")["p1"], rig.fast_path.counters() - counted
    assert delta.drops > 100, delta
    assert after["rx_packets"] - before["rx_packets"] == sent
    assert after["rx_bytes"] - before["rx_bytes"] == sent // 4 * size
    assert after["rx_dropped"] - before["rx_dropped"] == delta.drops


FOLLOW = """
import json, socket, sys, time
from pathlib import Path

def now():
    found = {}
    for line in Path("/proc/net/dev").read_text().splitlines()[2:]:
        name, _, rest = line.partition(":")
        words = rest.split()
        found[name.strip()] = [int(words[1]), int(words[0]), int(words[9]), int(words[8])]
    lines = Path("/proc/net/snmp").read_text().splitlines()
    ip = dict(zip(lines[0].split()[1:], map(int, lines[1].split()[1:])))
    found["snmp"] = [ip["InReceives"], ip["ForwDatagrams"], ip["OutTransmits"]]
    return found

last, rounds = now(), 0
first = last
print("ready", flush=True)
import select
while not select.select([sys.stdin], [], [], 0)[0]:
    this = now()
    for name in ("p1", "p2", "snmp"):
        assert all(a <= b for a, b in zip(last[name], this[name])), (name, last[name], this[name])
    last = this
    rounds += 1
    time.sleep(0.002)
time.sleep(0.5)
last = now()
print(json.dumps({"rounds": rounds, "moved": {
    name: [b - a for a, b in zip(first[name], last[name])] for name in ("p1", "p2", "snmp")}}))
"""


def test_counters_never_go_backwards_whichever_is_killed(rig: Rig, reader: Reader) -> None:
    plain = Reader(rig.router, None)
    before = plain.links("p2")["p2"]["tx_packets"]
    process = subprocess.Popen(
        [*inside(reader), sys.executable, "-c", FOLLOW],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    assert process.stdin
    assert process.stdout.readline() == "ready\n"
    with Stream(rig, per_second=500) as stream:
        for daemon in (rig.fpmd, rig.cmgrd, rig.rte, rig.fpmd, rig.rte):
            count = stream.received
            wait_for(
                lambda count=count: stream.received >= count + 100,  # type: ignore[misc]
                "traffic",
                timeout=40,
                interval=0.02,
            )
            file = generation(rig)
            daemon.kill()
            time.sleep(0.1)
            daemon.start()
            # Each by itself: while both are down nobody knows the interfaces.
            if daemon is rig.fpmd:
                wait_for(lambda file=file: generation(rig) != file, "fpmd's file", timeout=20)  # type: ignore[misc]
            rig.wait_for_ports()
        count = stream.received
        wait_for(lambda: stream.received >= count + 100, "traffic", timeout=40, interval=0.02)
    out, errors = process.communicate("end\n", timeout=30)
    assert process.returncode == 0, errors
    found = json.loads(out)
    assert found["rounds"] > 50
    # What came out on the far wire, whoever forwarded it (Linux does while fp-rte doesn't know its interfaces yet), and
    # what Linux sent of its own. fp-rte may be killed between counting a burst and sending it.
    heard = stream.heard
    own = plain.links("p2")["p2"]["tx_packets"] - before
    assert 0 <= found["moved"]["p2"][2] - heard.received <= own + 2 * 64
    assert 0 <= found["moved"]["snmp"][1] - heard.received <= 2 * 64
    assert heard.lost > 0


READERS = """
import socket, struct, sys, threading, time
from pathlib import Path

index = socket.if_nametoindex("p1")
request = struct.pack("=IHHII", 32, 18, 0x1, 1, 0) + struct.pack("=BxHiII", 0, 0, index, 0, 0)
ending = time.monotonic() + float(sys.argv[1])
rounds, wrong = [0] * 8, []

def packets_of_netlink():
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as opened:
        opened.send(request)
        data = opened.recv(65536)[32:]
    while data:
        size, kind = struct.unpack_from("=HH", data)
        if kind == 23:
            return struct.unpack_from("=Q", data, 4)[0]
        data = data[size + 3 & ~3:]

def packets_of_sysfs():
    return int(Path("/sys/class/net/p1/statistics/rx_packets").read_text())

def packets_of_proc():
    for line in open("/proc/net/dev"):
        if line.lstrip().startswith("p1:"):
            return int(line.split(":")[1].split()[1])

def work(number):
    read = (packets_of_netlink, packets_of_sysfs, packets_of_proc)[number % 3]
    last = 0
    while time.monotonic() < ending:
        now = read()
        if now < last:
            wrong.append((read.__name__, last, now))
        last = now
        rounds[number] += 1

threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
for one in threads:
    one.start()
for one in threads:
    one.join()
import os
assert not wrong, wrong[:5]
assert len(os.listdir("/proc/self/fd")) < 10
print(sum(rounds), max(packets_of_netlink(), packets_of_sysfs(), packets_of_proc()))
"""


def test_many_threads_read_while_fpmd_comes_and_goes(rig: Rig, reader: Reader) -> None:
    process = subprocess.Popen(
        [*inside(reader), sys.executable, "-c", READERS, "4"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with Stream(rig, per_second=500):
        for _ in range(3):
            time.sleep(0.4)
            rig.fpmd.kill()
            rig.fpmd.start()
        out, errors = process.communicate(timeout=30)
    assert process.returncode == 0, errors
    assert not errors
    rounds, packets = map(int, out.split())
    assert rounds > 500
    assert packets <= reader.links("p1")["p1"]["rx_packets"]


def test_getifaddrs_gets_them_too(rig: Rig, reader: Reader) -> None:
    code = """
import ctypes
class A(ctypes.Structure): pass
A._fields_ = [("next", ctypes.POINTER(A)), ("name", ctypes.c_char_p), ("flags", ctypes.c_uint),
    ("addr", ctypes.POINTER(ctypes.c_uint16)), ("mask", ctypes.c_void_p), ("ifu", ctypes.c_void_p),
    ("data", ctypes.POINTER(ctypes.c_uint32))]
libc = ctypes.CDLL(None)
head = ctypes.POINTER(A)()
assert libc.getifaddrs(ctypes.byref(head)) == 0
while head:
    one = head.contents
    if one.name == b"p1" and one.addr and one.addr[0] == 17:
        print(one.data[0])
    head = one.next
"""
    assert int(reader.python(code)) == reader.links("p1")["p1"]["rx_packets"] % 2**32
    assert int(reader.python(code)) > int(Reader(rig.router, None).python(code))


def test_ethtool_shows_the_device_behind_a_port(rig: Rig, reader: Reader) -> None:
    def shown() -> dict[str, int]:
        lines = reader.run("ethtool", "-S", "p1").splitlines()[1:]
        return {name.strip(): int(n) for name, _, n in (line.partition(":") for line in lines)}

    with Stream(rig, per_second=200) as stream:
        wait_for(lambda: stream.received > 50, "traffic", timeout=10, interval=0.05)
    (port,) = [row for row in rig.fast_path.table("ports") if row["name"] == "p1"]
    wait_for(
        lambda: shown()["device_rx_packets"] >= port["rx_packets"] > 50,
        "the device's counters",
        timeout=5,
        interval=0.2,
    )
    assert shown()["to_linux_packets"] == port["to_linux_packets"]
    # Others have what Linux says of them.
    for argv in (["ethtool", "-S", "lo"], ["ethtool", "p1"], ["ethtool", "-k", "p1"]):
        plain = rig.router.run(*argv, check=False)
        ours = rig.router.run("env", *reader.environment(), *argv, check=False)
        assert (ours.stdout, ours.stderr, ours.returncode) == (
            plain.stdout,
            plain.stderr,
            plain.returncode,
        )


# --- what must go through as it is


def test_without_a_fast_path_linux_is_believed(rig: Rig) -> None:
    plain = Reader(rig.router, None)
    nothing = Reader(rig.router, "there-is-none")
    for argv in (["cat", "/proc/net/snmp6"], ["cat", "/proc/net/dev"], ["ip", "-s", "link"]):
        assert nothing.run(*argv) == plain.run(*argv)


def test_another_namespace_has_its_own_counters(rig: Rig) -> None:
    """The hosts' eth0 have the ifindex of some interface of the router."""
    for argv in (["cat", "/proc/net/dev"], ["ip", "-s", "link"], ["cat", "/proc/net/snmp"]):
        assert Reader(rig.h1, rig.instance).run(*argv) == Reader(rig.h1, None).run(*argv)


def test_a_user_who_may_not_see_the_fast_path_sees_linux(rig: Rig, tmp_path: Path) -> None:
    # The build directory needn't be readable for all.
    there = Path(f"/tmp/fp-stats-{os.getpid()}.so")
    there.write_bytes(library().read_bytes())
    try:
        nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
        argv = [*nobody, "env", f"LD_PRELOAD={there}", f"SLUICE_INSTANCE={rig.instance}"]
        for words in (["cat", "/proc/net/dev"], ["ip", "-s", "link"]):
            shown = rig.router.run(*argv, *words)
            assert (shown.stdout, shown.stderr) == (Reader(rig.router, None).run(*words), "")
    finally:
        there.unlink()


def test_files_that_are_none_of_ours_are_the_programs_own(rig: Rig, reader: Reader) -> None:
    code = """
import os, sys
path = sys.argv[1]
fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o640)
assert os.fstat(fd).st_mode & 0o777 == 0o640
os.write(fd, b"dev")
os.chdir(os.path.dirname(path))
assert open("dev").read() == "dev"
assert os.readlink(f"/proc/self/fd/{os.open('dev', os.O_RDONLY)}") == path
try:
    os.open("/proc/net/none", os.O_RDONLY)
except FileNotFoundError:
    pass
a = open("/proc/self/net/dev", "rb")
assert a.read(10) and a.read()
"""
    folder = Path(f"/tmp/fp-stats-{os.getpid()}")
    folder.mkdir()
    try:
        reader.python(code, str(folder / "dev"))
    finally:
        (folder / "dev").unlink(missing_ok=True)
        folder.rmdir()


def test_fp_cli_and_ip_agree(rig: Rig, reader: Reader) -> None:
    """Linux's own part, and the fast path's, are the sum."""
    plain, both = Reader(rig.router, None).links("p2")["p2"], reader.links("p2")["p2"]
    (shown,) = [row for row in FastPath(rig.instance).table("stats") if row["name"] == "p2"]
    lost = shown["tx_dropped"]
    assert both["tx_packets"] == plain["tx_packets"] + shown["tx_packets"] - lost
