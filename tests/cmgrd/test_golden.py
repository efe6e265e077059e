"""What was recorded of the kernel gives the FPC objects that are written down beside it."""

import json
import os
from pathlib import Path

import pytest
from sluice.cmgrd.core import Core
from sluice.cmgrd.recording import replay
from sluice.fpc import Decoder, Frame
from sluice.fpc.record import to_json

FOLDER = Path(__file__).parent / "golden"
NAMES = sorted(path.name.removesuffix(".netlink.jsonl") for path in FOLDER.glob("*.netlink.jsonl"))

pytestmark = pytest.mark.golden


def fpc_of(path: Path) -> list[str]:
    """The FPC frames, below what caused them; as after a sync, one line each."""
    core = Core()
    core.objects.listen(True)
    lines = []
    with path.open() as recording:
        for line in recording:
            cause = replay(core, line)
            frames = list(Decoder().feed(core.objects.take(1 << 30, 1)[1]))
            if frames or cause.startswith("#"):
                lines.append(cause if cause.startswith("#") else f"{cause}:")
            lines += [
                f"    {json.dumps(to_json(Frame(frame.verb, frame.feature, 0, 0, frame.body)))}"
                for frame in frames
            ]
    assert not core.counts["malformed"]
    return lines


@pytest.mark.parametrize("name", NAMES)
def test_recorded_netlink_gives_the_written_fpc(name: str) -> None:
    wanted = FOLDER / f"{name}.fpc"
    found = fpc_of(FOLDER / f"{name}.netlink.jsonl")
    if os.environ.get("UPDATE_GOLDEN") == "1":
        wanted.write_text("\n".join(found) + "\n")
    assert found == wanted.read_text().splitlines()


def test_there_are_recordings() -> None:
    assert NAMES
