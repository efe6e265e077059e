# SPDX-License-Identifier: BSD-3-Clause
"""fpmd as a process: what bad clients, kills and restarts do to it and to the shared memory."""

import errno
import os
import shlex
import signal
import socket
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from _sluice import lib
from sluice.fpc import (
    FEATURES,
    Connection,
    Decoder,
    EventKind,
    Flag,
    LostError,
    RefusedError,
    Role,
    State,
    Verb,
    decode,
    encode,
    encode_key,
    pack,
)
from sluice.fpc.frame import Ack, pack_hello
from sluice.fpc.record import read, replay
from sluice.shm import ShmError

from lab.proc import wait_for
from tests.fpmd.conftest import Fpmd, create_shm, mac, router, sync

pytestmark = pytest.mark.functional

IFACE = FEATURES["iface"]


def iface(ifindex: int = 2, **fields: object) -> bytes:
    return encode("iface", vrf=0, ifindex=ifindex, name=f"eth{ifindex}", **fields)


# --- bad frames

HEAD = struct.Struct("=IHHHHI")
BAD_STREAMS = {
    "oversized": (HEAD.pack(65537, 16, 3, Verb.SET, 0, 1), errno.EMSGSIZE),
    "huge": (HEAD.pack(0xFFFFFFFF, 16, 3, Verb.SET, 0, 1), errno.EMSGSIZE),
    "shorter than its head": (HEAD.pack(15, 16, 3, Verb.SET, 0, 1), errno.EPROTO),
    "head too short": (HEAD.pack(16, 8, 3, Verb.SET, 0, 1), errno.EPROTO),
    "no FPC at all": (b"GET / HTTP/1.0\r\n\r\n", errno.EMSGSIZE),
}
BAD_FRAMES = {
    "unknown feature": (pack(Verb.SET, 999, Flag.ACK, 1, bytes(8)), errno.EOPNOTSUPP, ""),
    "feature without objects": (
        pack(Verb.SET, FEATURES["ip"].id, Flag.ACK, 1, bytes(8)),
        errno.EOPNOTSUPP,
        "",
    ),
    "unknown verb": (pack(42, 3, Flag.ACK, 1), errno.EOPNOTSUPP, "frame.verb"),
    "verb of fpmd's own": (pack(Verb.EVENT, 0, Flag.ACK, 1), errno.EOPNOTSUPP, "frame.verb"),
    "unknown frame flags": (pack(Verb.SET, 3, 0x4000, 1, iface()), errno.EINVAL, "frame.flags"),
    "flags of a dump": (pack(Verb.SET, 3, Flag.PARKED, 1, iface()), errno.EINVAL, "frame.flags"),
    "unknown object flags": (
        pack(Verb.SET, 3, Flag.ACK, 1, iface(flags=1 << 31)),
        errno.EINVAL,
        "flags",
    ),
    "key cut off": (pack(Verb.SET, 3, Flag.ACK, 1, bytes(7)), errno.EINVAL, ""),
    "key to delete cut off": (pack(Verb.DEL, 3, Flag.ACK, 1, bytes(7)), errno.EINVAL, ""),
    "long with something behind": (
        pack(Verb.SET, 3, Flag.ACK, 1, iface().ljust(IFACE.size, b"\0") + b"\0\0\0\1"),
        errno.EINVAL,
        "",
    ),
    "sync with a body": (pack(Verb.SYNC_BEGIN, 0, Flag.ACK, 1, b"x"), errno.EINVAL, ""),
    "sync end without begin": (pack(Verb.SYNC_END, 0, Flag.ACK, 1), errno.EINVAL, ""),
}


@pytest.mark.parametrize("name", BAD_STREAMS)
def test_a_stream_that_is_no_fpc_is_answered_and_closed(fpmd: Fpmd, name: str) -> None:
    data, code = BAD_STREAMS[name]
    client = fpmd.connect()
    client.set("vrf", encode("vrf", vrf=0))
    client.send_bytes(data)
    ack = Ack.parse(client.receive())
    assert ack.errno == code
    assert ack.text
    with pytest.raises(LostError, match="closed"):
        client.receive()
    assert len(fpmd.connect().dump()) == 1


@pytest.mark.parametrize("name", BAD_FRAMES)
def test_a_bad_frame_is_refused_and_changes_nothing(fpmd: Fpmd, name: str) -> None:
    data, code, field = BAD_FRAMES[name]
    client = fpmd.connect()
    client.set("vrf", encode("vrf", vrf=0))
    before = fpmd.dump()
    client.send_bytes(data)
    with pytest.raises(RefusedError) as refused:
        client.wait_ack(1)
    assert (refused.value.errno, refused.value.field) == (code, field)
    assert refused.value.text
    # The conversation goes on.
    client.set("iface", iface(9))
    client.delete("iface", encode_key("iface", ifindex=9))
    assert fpmd.dump() == before


def test_a_frame_that_breaks_off_changes_nothing(fpmd: Fpmd) -> None:
    client = fpmd.connect()
    client.set("vrf", encode("vrf", vrf=0))
    for count, length in enumerate((1, 15, 16, 17, 30), 1):
        client.send_bytes(pack(Verb.SET, IFACE.id, 0, 7, iface(3))[:length])
        client.close()

        # Before the next one of its role takes its place, which would end it too.
        def seen(count: int = count) -> bool:
            return fpmd.log.read_text().count("closed the connection within a frame") == count

        wait_for(seen, "fpmd to notice", timeout=10, interval=0.01)
        client = fpmd.connect()
        assert [s.feature for s in client.dump()] == [FEATURES["vrf"].id]


BAD_STARTS = {
    "no hello": (pack(Verb.DUMP), errno.EPROTO),
    "another version": (pack_hello(Role.VIEWER, "x", version=2), errno.EPROTO),
    "unknown role": (pack_hello(77, "x"), errno.EINVAL),
    "no role": (pack(Verb.HELLO, 0, 0, 0, struct.pack("=I", 1)), errno.EINVAL),
    "endless name": (
        pack(Verb.HELLO, 0, 0, 0, struct.pack("=II32s", 1, 3, b"x" * 32)),
        errno.EINVAL,
    ),
}


@pytest.mark.parametrize("name", BAD_STARTS)
def test_a_wrong_start_is_answered_and_closed(fpmd: Fpmd, name: str) -> None:
    hello, code = BAD_STARTS[name]
    with socket.socket(socket.AF_UNIX) as raw:
        raw.settimeout(5)
        raw.connect(str(fpmd.socket))
        raw.sendall(hello)
        data = b""
        while more := raw.recv(4096):
            data += more
    (frame,) = Decoder().feed(data)
    assert Ack.parse(frame).errno == code


# --- objects


def test_a_short_struct_is_filled_and_a_longer_one_of_zeros_taken(fpmd: Fpmd) -> None:
    client = fpmd.connect()
    client.set("vrf", bytes(4))
    client.set("iface", encode_key("iface", vrf=0, ifindex=2))
    client.set("iface", iface(3).ljust(IFACE.size + 32, b"\0"))
    shown = [decode(s.feature, s.body) for s in client.dump("iface")]
    assert [(s["ifindex"], s["name"], s["flags"]) for s in shown] == [(2, "", []), (3, "eth3", [])]


def test_what_is_set_again_changes_nothing(fpmd: Fpmd) -> None:
    client = fpmd.connect()
    sync(client, router())
    dump, changes = fpmd.dump(), fpmd.tables().config.changes()
    for feature, body in router():
        client.set(feature, body)
    sync(client, router())
    assert fpmd.tables().config.changes() == changes
    assert fpmd.dump() == dump


def test_the_order_between_features_doesnt_matter(fpmd: Fpmd) -> None:
    client = fpmd.connect()
    sync(client, router())
    dump = fpmd.dump()
    client.sync_begin()
    client.sync_end()
    assert client.dump() == []
    for feature, body in reversed(router()):
        client.set(feature, body)
    assert {s.state for s in client.dump()} == {State.APPLIED}
    assert fpmd.dump() == dump


def test_a_sync_deletes_what_isnt_set_again(fpmd: Fpmd) -> None:
    client = fpmd.connect()
    small = [o for o in router() if decode(*o)["vrf"] == 0]
    sync(client, small)
    dump = fpmd.dump()
    sync(client, router())
    assert fpmd.dump() != dump
    sync(client, small)
    assert fpmd.dump() == dump
    assert fpmd.tables().fill("iface").used == 2


def test_an_object_that_waits_is_shown_parked_and_comes_in_by_itself(fpmd: Fpmd) -> None:
    client = fpmd.connect()
    client.set("vrf", encode("vrf", vrf=0))
    neigh = encode("neigh", vrf=0, ifindex=5, family=2, addr="192.0.2.7", mac=mac(7))
    ack = client.set("neigh", neigh)
    assert "5" in ack.text
    (stored,) = client.dump("neigh")
    assert stored.state == State.PARKED
    assert not list(fpmd.tables().rows("neigh"))
    client.set("iface", iface(5))
    assert client.dump("neigh")[0].state == State.APPLIED
    assert "192.0.2.7" in fpmd.dump()


def test_a_refused_object_is_shown_with_its_reason_until_it_goes(fpmd: Fpmd) -> None:
    client = fpmd.connect()
    bad = encode("iface", vrf=999, ifindex=5)
    with pytest.raises(RefusedError) as refused:
        client.set("iface", bad)
    assert refused.value.field == "vrf"
    (stored,) = fpmd.connect(Role.VIEWER).dump("iface")
    assert (stored.state, stored.body) == (State.REFUSED, bad)
    assert stored.error
    assert (stored.error.errno, stored.error.field) == (errno.ERANGE, "vrf")
    assert stored.error.text == refused.value.text
    with pytest.raises(RefusedError):
        client.set("iface", bad)
    assert fpmd.log.read_text().count(refused.value.text) == 1
    client.delete("iface", encode_key("iface", vrf=999, ifindex=5))
    assert client.dump("iface") == []


def test_a_full_table_refuses_and_takes_it_when_there_is_room(idle: Fpmd) -> None:
    env = idle.folder / "env"
    env.write_text("FP_MAX_INTERFACES=16\n")
    idle.start("--env", str(env))
    client = idle.connect()
    client.set("vrf", encode("vrf", vrf=0))
    for i in range(1, 16):
        client.set("iface", iface(i))
    with pytest.raises(RefusedError, match="full") as refused:
        client.set("iface", iface(16))
    assert refused.value.errno == errno.ENOSPC
    assert idle.tables().fill("iface").used == 15
    client.delete("iface", encode_key("iface", ifindex=4))
    wait_for(
        lambda: all(s.state == State.APPLIED for s in client.dump("iface")),
        "the refused interface",
        timeout=5,
        interval=0.02,
    )
    assert len(client.dump("iface")) == 15


# --- who may do what


@pytest.mark.parametrize(
    ("role", "feature"), [(Role.RTE, "vrf"), (Role.VIEWER, "vrf"), (Role.SYNC, "port")]
)
def test_only_the_owner_of_a_feature_changes_it(fpmd: Fpmd, role: Role, feature: str) -> None:
    client = fpmd.connect(role)
    body = bytes(FEATURES[feature].key_size)
    for verb in (Verb.SET, Verb.DEL, Verb.SYNC_BEGIN, Verb.SYNC_END):
        with pytest.raises(RefusedError) as refused:
            client.request(verb, feature, body if verb in (Verb.SET, Verb.DEL) else b"")
        assert refused.value.errno == errno.EPERM
    assert client.dump() == []


def test_a_role_is_given_once_and_again_when_its_holder_is_gone(fpmd: Fpmd) -> None:
    first = fpmd.connect(name="first")
    with pytest.raises(RefusedError, match="first") as refused:
        fpmd.connect(name="second")
    assert refused.value.errno == errno.EBUSY
    first.set("vrf", encode("vrf", vrf=0))
    # Dead, with frames still in the queue and a dump nobody reads.
    first.post(Verb.DUMP)
    first.close()
    assert len(fpmd.connect(name="second").dump()) == 1


def test_a_stranger_is_turned_away(fpmd: Fpmd) -> None:
    script = (
        "import os, socket, sys\n"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "s = socket.socket(socket.AF_UNIX)\n"
        "try:\n"
        "    s.connect(sys.argv[1])\n"
        "except PermissionError:\n"
        "    print('permission')\n"
        "else:\n"
        "    print(s.recv(999)[16 + 8 + 32:].rstrip(b'\\0').decode())\n"
    )
    command = [sys.executable, "-c", script, str(fpmd.socket)]
    assert fpmd.socket.stat().st_mode & 0o777 == 0o660
    assert subprocess.check_output(command, text=True).strip() == "permission"
    # Even where the file would let it.
    fpmd.socket.chmod(0o666)
    assert "only root and members of group sluice" in subprocess.check_output(command, text=True)


def test_clients_that_dont_read_dont_keep_others_waiting(fpmd: Fpmd) -> None:
    client = fpmd.connect()
    client.set("vrf", encode("vrf", vrf=0))
    for i in range(1, 1000):
        client.post(Verb.SET, "iface", iface(i))
    lazy = [fpmd.connect(Role.VIEWER) for _ in range(8)]
    for viewer in lazy:
        viewer.socket.setblocking(False)
        try:
            while True:
                viewer.socket.send(pack(Verb.DUMP, 0, 0, 1) * 100)
        except BlockingIOError:
            pass
    assert len(client.dump("iface")) == 999
    assert fpmd.process
    status = Path(f"/proc/{fpmd.process.pid}/status").read_text()
    resident = next(int(line.split()[1]) for line in status.splitlines() if "VmRSS" in line)
    assert resident < 64 * 1024
    # They're served when they come back to their senses.
    lazy[0].socket.settimeout(5)
    assert lazy[0].receive().verb == Verb.SET


# --- life and death


def test_a_second_fpmd_of_an_instance_is_refused(fpmd: Fpmd) -> None:
    client = fpmd.connect()
    assert fpmd.process
    done = fpmd.run()
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        f"fpmd: error: another fpmd runs for instance '{fpmd.instance}', process {fpmd.process.pid}",
        "fpmd: hint: stop it, or choose another --instance",
    ]
    assert client.dump() == []


def test_sigterm_ends_it_and_leaves_the_memory_to_the_fast_path(fpmd: Fpmd) -> None:
    sync(fpmd.connect(), router())
    dump = fpmd.dump()
    assert fpmd.end(signal.SIGTERM) == 0
    assert not fpmd.socket.exists()
    assert fpmd.dump() == dump


def test_after_a_kill_and_a_sync_everything_is_as_before(fpmd: Fpmd) -> None:
    rte = fpmd.rte()
    rte.sync(eth2=2, eth3=3)
    sync(fpmd.connect(), router())
    dump = fpmd.dump()
    assert '"iface": "0/3"' in dump
    for _ in range(3):
        ino = fpmd.ino()
        fpmd.kill()
        rte.connection = None
        fpmd.start()
        rte.sync(eth2=2, eth3=3)
        sync(fpmd.connect(), router())
        assert fpmd.ino() != ino
        assert fpmd.dump() == dump


def test_a_living_fast_path_keeps_the_old_memory_until_the_new_says_everything(fpmd: Fpmd) -> None:
    rte = fpmd.rte()
    rte.sync(eth2=2)
    sync(fpmd.connect(), router())
    dump, ino = fpmd.dump(), fpmd.ino()
    fpmd.kill()
    rte.connection = None
    fpmd.start()
    client = fpmd.connect()
    client.sync_begin()
    for feature, body in router()[:5]:
        client.set(feature, body)
    assert (fpmd.dump(), fpmd.ino()) == (dump, ino)
    client.sync_end()
    # The ports are still missing.
    assert (fpmd.dump(), fpmd.ino()) == (dump, ino)
    sync(client, router())
    port = rte.sync(eth2=2)
    assert fpmd.ino() != ino
    assert fpmd.dump() == dump
    assert not fpmd.new_path.exists()
    port.dump()
    assert EventKind.PUBLISHED in [event.kind for event in port.events]


def test_when_the_fast_path_dies_the_new_memory_is_published(fpmd: Fpmd) -> None:
    rte = fpmd.rte()
    rte.sync(eth2=2)
    sync(fpmd.connect(), router())
    ino = fpmd.ino()
    fpmd.kill()
    rte.connection = None
    fpmd.start()
    assert fpmd.ino() == ino
    rte.die()
    wait_for(lambda: fpmd.ino() != ino, "the new file", timeout=5, interval=0.02)


@pytest.mark.parametrize("objects", [0, 1, 4, 9, 17])
def test_killed_within_a_sync_the_next_one_gives_the_same(fpmd: Fpmd, objects: int) -> None:
    rte = fpmd.rte()
    rte.sync(eth2=2)
    sync(fpmd.connect(), router())
    dump, ino = fpmd.dump(), fpmd.ino()
    for again in range(2):
        client = fpmd.connect() if again else fpmd.connections[-1]
        client.sync_begin()
        for feature, body in router()[:objects]:
            client.set(feature, body)
        client.send_bytes(pack(Verb.SET, IFACE.id, 0, 7, iface(3))[:20])
        fpmd.kill()
        assert fpmd.dump() == dump
        rte.connection = None
        fpmd.start()
        rte.sync(eth2=2)
        assert fpmd.ino() == ino
    sync(fpmd.connect(), router())
    assert fpmd.ino() != ino
    assert fpmd.dump() == dump
    assert not fpmd.new_path.exists()


def iface_rows(fpmd: Fpmd) -> dict[tuple[int, int], int]:
    """Row by VRF and ifindex."""
    rows = fpmd.tables().rows("iface")
    return {(r["vrf"], r["ifindex"]): r["row"] for r in rows if r["ifindex"]}


def test_an_interface_keeps_its_row_over_a_restart(fpmd: Fpmd) -> None:
    rte = fpmd.rte()
    rte.sync()
    client = fpmd.connect()
    client.set("iface", iface(50))
    sync(client, router())
    client.set("iface", iface(60))
    rows = iface_rows(fpmd)
    fpmd.kill()
    rte.connection = None
    fpmd.start()
    rte.sync()
    # In another order, with a new one first and one missing.
    objects = [o for o in router() if o[0] != "vrf"]
    vrfs = [o for o in router() if o[0] == "vrf"]
    sync(fpmd.connect(), [*vrfs, ("iface", iface(70)), ("iface", iface(60)), *reversed(objects)])
    again = iface_rows(fpmd)
    new = again.pop((0, 70))
    assert again == {key: rows[key] for key in again}
    assert len(again) == 5
    # It doesn't get one that another may come back for.
    assert new not in rows.values()


def test_a_recording_replayed_gives_the_same_state(idle: Fpmd) -> None:
    recording = idle.folder / "record.jsonl"
    idle.start("--record", str(recording))
    rte = idle.rte()
    rte.sync(eth2=2)
    client = idle.connect()
    sync(client, router())
    client.delete("route", router()[-1][1][: FEATURES["route"].key_size])
    with pytest.raises(RefusedError):
        client.set("iface", encode("iface", vrf=999, ifindex=5))

    def stored(connection: Connection) -> list[tuple[object, ...]]:
        return [
            (s.feature, s.state, s.body, s.error and (s.error.errno, s.error.text))
            for s in connection.dump()
        ]

    dump, objects = idle.dump(), stored(client)
    client.close()
    rte.die()
    idle.end(signal.SIGTERM)
    idle.config_path.unlink()
    idle.start()
    with recording.open() as lines:
        replay(read(lines), idle.socket)
    assert idle.dump() == dump
    assert stored(idle.connect()) == objects


def test_what_is_set_and_deleted_leaves_no_row_behind(fpmd: Fpmd) -> None:
    rte = fpmd.rte()
    rte.sync(eth2=2)
    client = fpmd.connect()
    sync(client, router())
    names = ("iface", "neigh", "nexthop", "mtrie4_line", "mtrie6_line")

    def fill() -> list[int]:
        client.dump("vrf")
        return [fpmd.tables().fill(name).used for name in names]

    full = fill()
    sync(client, [])
    # A worker that has run and sleeps: nothing is held.
    wait_for(lambda: sum(fill()) <= 1, "empty tables", timeout=5, interval=0.02)
    sync(client, router())
    assert fill() == full


def test_rows_wait_for_a_running_worker(fpmd: Fpmd) -> None:
    rte = fpmd.rte()
    rte.sync()
    client = fpmd.connect()
    client.set("vrf", encode("vrf", vrf=0))
    client.set("iface", iface(5))
    assert rte.shm
    workers = lib.shm_rows(rte.shm, b"worker")
    from _sluice import ffi

    worker = ffi.cast("struct worker_row *", workers)
    worker.quiescent = 7
    client.delete("iface", encode_key("iface", ifindex=5))
    for _ in range(20):
        client.dump("vrf")
    assert fpmd.tables().fill("iface").used == 1
    worker.quiescent = 11
    wait_for(lambda: fpmd.tables().fill("iface").used == 0, "the row", timeout=5, interval=0.01)


# --- other versions


def other_version(tables: object) -> None:
    """The layout of another Sluice: the first table has a higher version."""
    tables[0].version += 1  # type: ignore[index]


def test_readers_refuse_memory_of_another_version_and_name_the_table(idle: Fpmd) -> None:
    shm = create_shm(idle.config_path, lib.feature_config_tables, change=other_version)
    with pytest.raises(ShmError, match=r"table 'vrf' is version \d+ ") as error:
        idle.tables().rows("iface").__next__()
    assert "another Sluice version" in error.value.hint
    del shm


def test_with_a_living_fast_path_of_another_version_it_doesnt_start(idle: Fpmd) -> None:
    idle.rte()
    shm = create_shm(idle.config_path, lib.feature_config_tables, change=other_version)
    ino = idle.ino()
    done = idle.run()
    assert done.returncode == 1
    error, hint = done.stderr.splitlines()
    assert error.startswith(f"fpmd: error: {idle.config_path}: table 'vrf' is version ")
    assert hint.startswith("fpmd: hint: ")
    assert idle.ino() == ino
    assert not idle.new_path.exists()
    del shm


def test_stats_of_another_version_are_refused_too(idle: Fpmd) -> None:
    rte = idle.rte(stats=False)
    rte.shm = create_shm(idle.stats_path, lib.feature_stats_tables, change=other_version)
    done = idle.run()
    assert done.returncode == 1
    assert "table 'worker' is version 2" in done.stderr


def test_other_settings_than_the_living_fast_paths_are_refused(idle: Fpmd) -> None:
    idle.rte()
    env = idle.folder / "env"
    env.write_text("FP_MAX_INTERFACES=16\n")
    done = idle.run("--env", str(env), "--check")
    assert done.returncode == 1
    assert "'iface_stats'" in done.stderr
    assert "restart fp-rte too" in done.stderr


def test_without_a_fast_path_memory_of_another_version_is_replaced(idle: Fpmd) -> None:
    shm = create_shm(idle.config_path, lib.feature_config_tables, change=other_version)
    idle.start()
    assert idle.tables().config.tables()
    assert "replacing what another version left" in idle.log.read_text()
    del shm


def test_junk_in_place_of_the_memory_is_replaced(idle: Fpmd) -> None:
    for junk in (b"", b"x" * 100, b"x" * 100_000):
        idle.config_path.write_bytes(junk)
        idle.new_path.write_bytes(junk)
        idle.start()
        sync(idle.connect(), router())
        assert "198.51.100.128/25" in idle.dump()
        idle.kill()


# --- the command line


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--env", "/nonexistent/env"], "/nonexistent/env"),
        (["--record", "/nonexistent/record"], "/nonexistent/record"),
        (["--instance", "a/b"], "'a/b' is no instance name"),
    ],
)
def test_a_bad_option_ends_with_one_line(idle: Fpmd, options: list[str], text: str) -> None:
    done = idle.run(*options)
    assert done.returncode == 1
    lines = done.stderr.splitlines()
    assert lines[0].startswith("fpmd: error: ")
    assert text in lines[0]
    assert all(line.startswith("fpmd: hint: ") for line in lines[1:])
    assert not idle.config_path.exists()
    assert not idle.new_path.exists()


def test_a_memory_folder_that_is_too_small_is_named(idle: Fpmd) -> None:
    """Mounted in a mount namespace of fpmd's own."""
    mount = "mount -t tmpfs -o size=128k tmpfs /dev/shm && exec "
    command = ["unshare", "--mount", "sh", "-c", mount + shlex.join(idle.command())]
    with idle.log.open("wb") as log:
        idle.process = subprocess.Popen(command, stderr=log)
    wait_for(idle.socket.exists, "the socket", timeout=10, interval=0.02)
    client = idle.connect()
    client.set("vrf", encode("vrf", vrf=0))
    with pytest.raises(LostError):
        for i in range(1, 1000):
            client.set("iface", iface(i))
            client.set(
                "neigh", encode("neigh", ifindex=i, family=10, addr=f"2001:db8::{i:x}", mac=mac(1))
            )
    assert idle.process.wait(10) == 1
    assert "fpmd: error: /dev/shm is full\nfpmd: hint: " in idle.log.read_text()


def test_a_check_leaves_nothing_behind(idle: Fpmd) -> None:
    assert idle.run("--check").returncode == 0
    assert not idle.config_path.exists()
    assert not idle.new_path.exists()
    assert not idle.socket.exists()


def test_it_tells_systemd_when_it_is_ready(idle: Fpmd, evidence: Path) -> None:
    path = evidence / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.bind(str(path))
        notify.settimeout(10)
        os.environ["NOTIFY_SOCKET"] = str(path)
        try:
            idle.start()
        finally:
            del os.environ["NOTIFY_SOCKET"]
        assert notify.recv(100) == b"READY=1"
        Connection(idle.socket, Role.VIEWER, name="x").close()
        idle.end(signal.SIGTERM)
        assert notify.recv(100) == b"STOPPING=1"
