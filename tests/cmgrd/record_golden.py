"""Record the golden tests' input from this machine's kernel: python3 -m tests.cmgrd.record_golden [SCENARIO...]

Needs root. The expected output is written by UPDATE_GOLDEN=1 afterwards.
"""

import subprocess
import sys
from pathlib import Path

from sluice.cmgrd.recording import RecordedCore

from tests.cmgrd.kernel import equals_fresh, following, in_namespace, ip
from tests.cmgrd.scenarios import SCENARIOS, SETUP

FOLDER = Path(__file__).parent / "golden"


def record(name: str) -> None:
    async def run() -> None:
        ip(*SETUP)
        core = RecordedCore((FOLDER / f"{name}.netlink.jsonl").open("w"))
        async with following(core) as follower:
            for step in SCENARIOS[name]:
                core.write(do="note", text="; ".join(f"ip {line}" for line in step))
                for line in step:
                    subprocess.run(["ip", *line.split()], check=True)
                await equals_fresh(follower)
        core.file.close()

    in_namespace(run)


def main() -> None:
    for name in sys.argv[1:] or SCENARIOS:
        record(name)
        print(name)


if __name__ == "__main__":
    main()
