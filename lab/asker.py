"""A process in the appliance that answers questions about the fast path as long as it's asked.

`fp-cli` itself takes seconds to start on an emulated machine, and a test asks often. So one Python
process stays, runs the same code as `fp-cli -j`, and reads files besides: one JSON line in, one
out.
"""

import json
import os
import select
import subprocess
import time
from collections.abc import Sequence
from typing import Any

from lab.errors import LabError

PROGRAM = """\
import json, sys
from sluice.cli.main import run
for line in sys.stdin:
    asked = json.loads(line)
    try:
        options = ["--instance", asked["instance"], "-j"]
        answer = {name: json.loads(run([*options, *name.split()])) for name in asked["tables"]}
        answer.update((name, open(name).read()) for name in asked["files"])
    except Exception as error:
        answer = {"error": str(error) or type(error).__name__}
    print(json.dumps(answer), flush=True)
"""


class Asker:
    """Starts its process with the first question, and anew when that has ended."""

    def __init__(self, words: Sequence[str], *, instance: str) -> None:
        self.words = list(words)
        self.instance = instance
        self.process: subprocess.Popen[bytes] | None = None

    def ask(
        self, tables: Sequence[str] = (), files: Sequence[str] = (), *, timeout: float = 90
    ) -> dict[str, Any]:
        """Tables of `fp-cli -j` and texts of files, by name."""
        question = {"instance": self.instance, "tables": list(tables), "files": list(files)}
        if self.process is not None and self.process.poll() is not None:
            self.close()
        if self.process is None:
            self.process = subprocess.Popen(
                self.words,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps(question).encode() + b"\n")
            self.process.stdin.flush()
            line = self.read_line(time.monotonic() + timeout)
        except BrokenPipeError:
            line = b""
        if not line:
            self.close()
            raise LabError(
                "the appliance doesn't tell about its fast path",
                hint="is the product in the image, and does `fp-cli stats` work there?",
            )
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise LabError(f"fp-cli: {answer['error']}")
        return answer

    def read_line(self, deadline: float) -> bytes:
        """A whole line, or what came of it until the end or the deadline."""
        assert self.process is not None
        assert self.process.stdout is not None
        descriptor = self.process.stdout.fileno()
        line = b""
        while not line.endswith(b"\n"):
            left = deadline - time.monotonic()
            ready, _, _ = select.select([descriptor], [], [], max(0.0, left))
            part = os.read(descriptor, 65536) if ready else b""
            if not part:
                return b""
            line += part
        return line

    def close(self) -> None:
        process, self.process = self.process, None
        if process is not None:
            process.kill()
            process.communicate()
