"""The process that holds TRex's client library: JSON requests on stdin, JSON answers on stdout.

Called as `python3 -I trex_agent.py FOLDER`; imports nothing of ours. The library is made for Python 3.8
to 3.11; what it misses on newer ones is put in its place here.
"""

import html
import importlib
import importlib.machinery
import importlib.util
import json
import os
import sys
import time
import types
import warnings
from pathlib import Path
from typing import Any


class OldFinders:
    """Lets the finders of the library's old `six` work, which know find_module only."""

    @staticmethod
    def find_spec(
        name: str, path: object = None, target: object = None
    ) -> importlib.machinery.ModuleSpec | None:
        old: list[Any] = list(sys.meta_path)
        for finder in old:
            if not hasattr(finder, "find_spec"):
                loader = finder.find_module(name, path)
                if loader is not None:
                    return importlib.util.spec_from_loader(name, loader)
        return None


def shim() -> None:
    """Put back what Python has lost since 3.11 and the library imports."""
    warnings.simplefilter("ignore")
    sys.meta_path.append(OldFinders)
    for name in ("cgi", "imp", "asyncore"):
        if importlib.util.find_spec(name) is None:
            sys.modules[name] = types.ModuleType(name)
    vars(sys.modules["cgi"])["escape"] = html.escape


def load(folder: str) -> Any:
    """TRex's stateless API, from the PyPI package or a release's folder."""
    sys.path.insert(0, folder)
    if Path(folder, "lbr_trex_client").is_dir():
        importlib.import_module("lbr_trex_client")  # sets its paths
    return importlib.import_module("trex.stl.api")


class Agent:
    def __init__(self, api: Any) -> None:
        self.api = api
        self.client: Any = None

    def connect(self, server: str, port: int) -> dict[str, Any]:
        self.client = self.api.STLClient(server=server, sync_port=port, verbose_level="none")
        self.client.connect()
        self.client.acquire(force=True)
        return {"version": self.client.get_server_version().get("version", "?")}

    def trial(
        self, frames: list[str], pps: float, seconds: float, sender: int, receiver: int
    ) -> dict[str, Any]:
        api, client = self.api, self.client
        client.reset(ports=sorted({sender, receiver}))
        # Each stream sends its share, so that all frames together are sent at the rate asked.
        share = pps / len(frames)
        streams = [
            api.STLStream(
                packet=api.STLPktBuilder(pkt_buffer=bytes.fromhex(frame)),
                mode=api.STLTXCont(pps=share),
            )
            for frame in frames
        ]
        client.add_streams(streams, ports=[sender])
        client.clear_stats()
        start = time.monotonic()
        client.start(ports=[sender], duration=seconds, force=True)
        client.wait_on_traffic(ports=[sender], timeout=seconds * 3 + 10, rx_delay_ms=1000)
        # The delay above waits for stragglers and isn't part of the trial.
        wall = time.monotonic() - start - 1.0
        stats = client.get_stats()
        return {
            "wall_seconds": wall,
            "sent": int(stats[sender]["opackets"]),
            "received": int(stats[receiver]["ipackets"]),
            "errors": int(stats[receiver]["ierrors"]),
        }


def main() -> None:
    # The library prints; only answers may go to the real standard output.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    shim()
    agent: Agent | None = None
    for line in sys.stdin:
        request = json.loads(line)
        try:
            agent = agent or Agent(load(sys.argv[1]))
            answer = getattr(agent, request.pop("verb"))(**request)
        except Exception as error:  # whatever it is, the other side must hear of it
            answer = {"error": " ".join(str(error).split())[:300] or type(error).__name__}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
