# SPDX-License-Identifier: BSD-3-Clause
"""How long yamsd takes for many static routes, kernel included: edit-config, validate, commit; and its memory.

The daemon runs in a network namespace of its own and is asked over its socket, without SSH. Results go to
build/bench/mgmt.json and, as a table, to standard output.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from lab import netns
from tests.mgmt.client import Client

OUT = Path("build/bench/mgmt.json")
ENTRIES = (10_000, 100_000)
VALIDATE = "<validate><source><candidate/></source></validate>"
COMMIT = "<commit/>"


def routes(count: int) -> str:
    """An edit-config with that many routes."""
    listed = "".join(
        f"<ipv4-route><prefix>10.{n >> 14}.{n >> 6 & 255}.{(n & 63) << 2}/30</prefix>"
        "<next-hop><hop>192.0.2.2</hop></next-hop></ipv4-route>"
        for n in range(count)
    )
    return (
        '<edit-config><target><candidate/></target><config><vrf xmlns="urn:sluice:vrf">'
        f'<name>main</name><routing xmlns="urn:sluice:route"><static>{listed}</static></routing>'
        "</vrf></config></edit-config>"
    )


def cpu(pid: int) -> float:
    """Seconds of processor a process has had; on a busy machine they say more than the clock."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def timed(client: Client, body: str, pid: int) -> tuple[float, float]:
    """By the clock, and of the daemon's processor time."""
    start, before = time.perf_counter(), cpu(pid)
    client.ok(body)
    return round(time.perf_counter() - start, 3), round(cpu(pid) - before, 3)


def peak_mib(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+)", status)
    assert found
    return round(int(found[1]) / 1024, 1)


def in_kernel(namespace: str) -> int:
    done = subprocess.run(
        ["ip", "-n", namespace, "route", "show", "proto", "static"],
        stdout=subprocess.PIPE,
        check=True,
    )
    return done.stdout.count(b"\n")


def case(count: int) -> list[dict[str, Any]]:
    """Adds routes to an empty configuration, then removes them, with a fresh daemon."""
    namespace = f"bench-mgmt-{os.getpid()}"
    netns.create(namespace)
    try:
        netns.ip_batch(
            namespace,
            [
                "link add eth0 type veth peer name far0",
                "link set far0 up",
                "link set eth0 up",
                "address add 192.0.2.1/24 dev eth0",
            ],
        )
        with tempfile.TemporaryDirectory() as work:
            daemon = subprocess.Popen(
                [
                    *("nsenter", f"--net=/run/netns/{namespace}"),
                    *(sys.executable, "-m", "sluice.mgmt.app"),
                    *("--state", f"{work}/state", "--run", f"{work}/run"),
                ],
                stderr=subprocess.DEVNULL,
            )
            try:
                Client.wait(Path(work) / "run/netconf.sock", daemon)
                client = Client(Path(work) / "run/netconf.sock")
                client.sock.settimeout(600)
                delete = (
                    '<edit-config><target><candidate/></target><config><vrf xmlns="urn:sluice:vrf">'
                    '<name>main</name><routing xmlns="urn:sluice:route" nc:operation="delete"/>'
                    "</vrf></config></edit-config>"
                )
                found = []
                for name, edit, left in (("add", routes(count), count), ("remove", delete, 0)):
                    load = os.getloadavg()[0]
                    result: dict[str, Any] = {"case": f"static-routes-{name}", "entries": count}
                    work_cpu = {}
                    for step, body in (("edit", edit), ("validate", VALIDATE), ("commit", COMMIT)):
                        result[f"{step}_seconds"], work_cpu[f"{step}_cpu_seconds"] = timed(
                            client, body, daemon.pid
                        )
                    result |= {"peak_mib": peak_mib(daemon.pid), "load": round(load, 2), **work_cpu}
                    assert in_kernel(namespace) == left
                    found.append(result)
                return found
            finally:
                daemon.terminate()
                daemon.wait(60)
    finally:
        netns.remove(namespace)


def main() -> None:
    results = [result for count in ENTRIES for result in case(count)]
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(json.dumps(results, indent=1) + "\n")
    for result in results:
        print("  ".join(f"{key} {value}" for key, value in result.items()))


if __name__ == "__main__":
    main()
