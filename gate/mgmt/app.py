# SPDX-License-Identifier: BSD-3-Clause
"""The daemon: options, log, models, signals."""

import argparse
import asyncio
import gc
import logging
import os
import signal
import socket
import sys
from pathlib import Path

from sluice.mgmt import nacm
from sluice.mgmt.engine import Engine
from sluice.mgmt.feature import Feature, discover
from sluice.mgmt.host import host
from sluice.mgmt.netconf.server import Server
from sluice.mgmt.store import Disk, Store, StoreError
from sluice.mgmt.yang import Schema, YangError

log = logging.getLogger("yamsd")

STATE, RUN = Path("/var/lib/sluice-mgmt"), Path("/run/sluice-mgmt")
SOCKET = "netconf.sock"
HERE = Path(__file__).parent
NETCONF_FEATURES = (
    "candidate",
    "confirmed-commit",
    "rollback-on-error",
    "validate",
    "startup",
    "xpath",
)
OWN = (
    "ietf-netconf",
    "ietf-netconf-with-defaults",
    "ietf-netconf-monitoring",
    "ietf-netconf-acm",
    "ietf-netconf-notifications",
    "notifications",
    "nc-notifications",
    "sluice-mgmt",
    "sluice-cli",
)
ACCESS = Feature(name="access control", factory=nacm.default_configuration())


def load_models(features: list[Feature]) -> Schema:
    """Our own models and each feature's. A feature's model that doesn't load is named, and the rest goes on."""
    schema = Schema([HERE / "models"])
    for name in OWN:
        schema.load(name, NETCONF_FEATURES if name == "ietf-netconf" else ("*",))
    for folder in {model.parent for feature in features for model in feature.models}:
        schema.add_folder(folder)
    # Again as long as one more gets in: a model may need another that comes later.
    waiting = [model for feature in features for model in feature.models]
    failed: dict[Path, YangError] = {}
    while waiting:
        failed = {}
        for model in waiting:
            try:
                schema.load(model.name.partition("@")[0].removesuffix(".yang"))
            except YangError as error:
                failed[model] = error
        if len(failed) == len(waiting):
            break
        waiting = list(failed)
    for model, why in failed.items():
        log.error("the model %s can't be loaded and is left out: %s", model.name, why)
    return schema


def notify(text: str) -> None:
    """Tell systemd, if it asked to be told (sd_notify(3))."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if address:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
            sock.connect("\0" + address[1:] if address.startswith("@") else address)
            sock.send(text.encode())


async def serve(features: list[Feature], state: Path, run: Path, disk: Disk | None = None) -> None:
    """Start, serve until SIGTERM or SIGINT."""
    store = Store(state, run, disk)
    host.state, host.run = state, run
    run.chmod(0o755)  # for the socket; the files in it are for their owner only
    # Rules that a feature adds come first: the general ones would hide them.
    engine = Engine(load_models(features), [*features, ACCESS], store)
    server = Server(engine)
    await engine.start()
    # Trees are freed by reference counts; what's made until here stays.
    gc.collect()
    gc.freeze()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    listener = await server.listen(run / SOCKET)
    notify("READY=1")
    log.info("ready with %s", ", ".join(feature.name for feature in features) or "no features")
    await stop.wait()
    notify("STOPPING=1")
    listener.close()
    for session in list(server.sessions.values()):
        session.closing = "other"
        if session.task is not None:
            session.task.cancel()


def main() -> None:
    """The program."""
    parser = argparse.ArgumentParser(prog="yamsd", description="Sluice's management daemon.")
    parser.add_argument(
        "--state", type=Path, default=STATE, help=f"lasting files (default: {STATE})"
    )
    parser.add_argument(
        "--run", type=Path, default=RUN, help=f"socket and journal (default: {RUN})"
    )
    parser.add_argument("--debug", action="store_true", help="tell more")
    options = parser.parse_args()
    logging.basicConfig(
        level=logging.DEBUG if options.debug else logging.INFO,
        format="%(levelname)s: %(message)s",
        stream=sys.stderr,
    )
    try:
        asyncio.run(serve(discover(), options.state, options.run))
    except StoreError as error:
        sys.exit(f"yamsd: error: {error}\nyamsd: hint: it runs as root; see --state and --run")
    except YangError as error:
        sys.exit(
            f"yamsd: error: its own models or files are wrong: {error}\n"
            "yamsd: hint: reinstall it, or move the files in --run away"
        )


if __name__ == "__main__":
    main()
