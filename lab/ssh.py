"""SSH to the appliance over one shared connection: emulated cryptography is slow."""

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from lab import paths
from lab.errors import LabError
from lab.netns import in_namespace, namespace
from lab.proc import Completed, run


class Ssh:
    def __init__(self, lab: str, address: str) -> None:
        self.lab = lab
        self.address = address
        self.control = paths.run_dir(lab) / "ssh"

    def argv(self, command: Sequence[str]) -> list[str]:
        """The command on this machine; SSH gives the other side one string, so words are quoted."""
        return self.ssh([shlex.join(command)])

    def terminal_argv(self, command: Sequence[str]) -> list[str]:
        """A shell, or what the user typed, as ssh does it: joined here, split by the shell."""
        return self.ssh(command, *(["-t"] if sys.stdin.isatty() else []))

    def ssh(self, command: Sequence[str], *flags: str) -> list[str]:
        options = {
            "BatchMode": "yes",
            "ConnectTimeout": "10",
            "ControlMaster": "auto",
            "ControlPath": str(self.control),
            "ControlPersist": "600",
            "IdentitiesOnly": "yes",
            "LogLevel": "ERROR",
            "ServerAliveInterval": "5",
            "ServerAliveCountMax": "6",
            # A new appliance has a new host key, on an address that all appliances have.
            "StrictHostKeyChecking": "no",
            "UserKnownHostsFile": "/dev/null",
        }
        words = ["ssh", "-i", str(paths.SSH_KEY), "-F", "none"]
        for key, value in options.items():
            words += ["-o", f"{key}={value}"]
        words += [*flags, f"root@{self.address}", *command]
        return [str(word) for word in in_namespace(namespace(self.lab), words)]

    def run(
        self,
        command: Sequence[str],
        *,
        check: bool = True,
        timeout: float = 60,
        stdin: str | None = None,
    ) -> Completed:
        done = run(self.argv(command), check=False, timeout=timeout, stdin=stdin)
        if done.returncode == 255 and not done.stdout:
            reason = (done.stderr.strip() or "no reason given").splitlines()[-1]
            raise LabError(
                f"no SSH to the appliance: {reason}",
                hint="its serial console may tell more: python3 -m lab console",
            )
        if check and done.returncode != 0:
            said = (done.stderr.strip() or done.stdout.strip() or "it said nothing").splitlines()
            shown = shlex.join(command)
            shown = shown if len(shown) < 100 else shown[:100] + "..."
            raise LabError(
                f"in the appliance, `{shown}` failed with status {done.returncode}: {said[-1]}"
            )
        return done

    def reachable(self) -> bool:
        """Whether somebody answers there and lets us in."""
        return run(self.argv(["true"]), check=False, timeout=60).returncode == 0

    def close(self) -> None:
        """Forget the shared connection; the machine it went to is gone or was restored."""
        words = ["ssh", "-F", "none", "-o", f"ControlPath={self.control}", "-O", "exit", "x"]
        run(words, check=False)
        self.control.unlink(missing_ok=True)


def make_key() -> str:
    """The lab's SSH key, made at the first use; returns the public half."""
    key: Path = paths.SSH_KEY
    public = key.with_suffix(".pub")
    if not public.exists():
        key.parent.mkdir(parents=True, exist_ok=True)
        key.unlink(missing_ok=True)
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "sluice-lab", "-f", key])
    return public.read_text()
