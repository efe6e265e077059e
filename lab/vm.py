"""The lab with the appliance as a virtual machine under libvirt."""

import os
import re
import shutil
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from lab import libvirtd, paths, wire
from lab.accel import acceleration
from lab.appliance import Appliance
from lab.asker import PROGRAM, Asker
from lab.base import Lab
from lab.domain import (
    MANAGEMENT_ADDRESS,
    MANAGEMENT_HOST,
    MANAGEMENT_TAP,
    DirectKernel,
    Export,
    Machine,
    domain_xml,
    management_network,
)
from lab.errors import LabError
from lab.libvirtd import libvirt
from lab.netns import ip_batch, namespace, sysctl
from lab.proc import Completed, run, wait_for
from lab.progress import progress, step
from lab.ssh import Ssh, make_key
from lab.topology import Topology

# What the lab asks of the guest's kernel: no splash of messages on a slow emulated UART, no
# mitigations of flaws that an emulated processor doesn't have, and no panic if on a busy machine the
# timer's first ticks come late. For the lab only.
# The SysRq keys tell what a guest that stands still waits for.
CMDLINE = "quiet mitigations=off audit=0 no_timer_check sysrq_always_enabled"
# On a busy machine QEMU's emulation can lose an interrupt: that of the one timer that wakes the
# processors, or one of the disk, after which all who write wait for ever. Nothing of ours, and a second
# boot is cheaper than a failed run.
LOST_INTERRUPT = re.compile(
    rb"timer doesn't work through|rcu_preempt kthread timer wakeup didn't happen"
    rb"|INFO: task kworker\S* blocked for more than"
)
PANIC = re.compile(rb"Kernel panic - not syncing: ([^\r\n]*)")
# Key codes of Linux: Alt, SysRq, and with them 9, w, l.
ALT, SYSRQ = 56, 99
SYSRQ_ALL_MESSAGES, SYSRQ_BLOCKED_TASKS, SYSRQ_ACTIVE_CPUS = 10, 17, 38
# Long enough for two emulated processors on a machine that is busy with a build.
BOOT_SECONDS = {"kvm": 120, "qemu": int(os.environ.get("SLUICE_BOOT_SECONDS") or 480)}


class LostInterruptError(LabError):
    """The guest stands still, and it's the emulator's fault."""


class VmAppliance(Appliance):
    def __init__(self, topology: Topology, ssh: Ssh) -> None:
        words = ssh.argv(["python3", "-c", PROGRAM])
        super().__init__(topology, Asker(words, instance="main"))
        self.ssh = ssh

    def run(
        self,
        argv: Sequence[str],
        *,
        check: bool = True,
        timeout: float = 60,
        stdin: str | None = None,
    ) -> Completed:
        return self.ssh.run(argv, check=check, timeout=timeout, stdin=stdin)

    def shell_command(self, argv: Sequence[str]) -> list[str]:
        return self.ssh.terminal_argv(argv)

    def kill(self, daemon: str) -> None:
        self.run(["systemctl", "kill", "--kill-whom=main", "--signal=KILL", f"{daemon}.service"])

    def collect(self, folder: Path) -> None:
        """One script, one connection: a sick machine answers slowly."""
        folder.mkdir(parents=True, exist_ok=True)
        script = """
            exec 2>&1
            echo "# failed units"; systemctl --failed --no-legend
            echo "# ip"; ip address; ip route show table all; ip neigh; ip -s link
            for table in ports interfaces routes neighbours stats drops exceptions; do
                echo "# fp-cli $table"; timeout 10 fp-cli -j $table
            done
            echo "# journal"; journalctl --boot --no-pager --output=short-monotonic
        """
        done = self.run(["sh", "-c", script], check=False, timeout=120)
        (folder / "appliance.txt").write_text(done.stdout)


class VmLab(Lab):
    backend = "libvirt"

    def __init__(
        self,
        topology: Topology | str,
        *,
        name: str = "",
        direct_kernel: bool = False,
        bios: bool = False,
        exports: tuple[Export, ...] = (),
        cmdline: str = CMDLINE,
    ) -> None:
        super().__init__(topology, name=name)
        self.direct_kernel = direct_kernel
        self.bios = bios
        self.exports = exports
        self.cmdline = cmdline
        self.disk = self.work / "disk.qcow2"
        self.console_log = self.work / "console.log"
        self.ssh = Ssh(self.name, MANAGEMENT_ADDRESS.partition("/")[0])
        self.appliance = VmAppliance(self.topology, self.ssh)
        self.connection: Any = None
        self.domain: Any = None
        self.type = ""

    @property
    def console_socket(self) -> Path:
        return paths.run_dir(self.name) / "console.sock"

    def start(self) -> None:
        rack = namespace(self.name)
        ip_batch(
            rack,
            [
                f"tuntap add dev {MANAGEMENT_TAP} mode tap vnet_hdr",
                f"address add {MANAGEMENT_HOST} dev {MANAGEMENT_TAP}",
                f"link set {MANAGEMENT_TAP} up",
            ],
        )
        # The rack is no router between management and links.
        sysctl(rack, {"net.ipv4.ip_forward": "0"})
        for port in self.topology.appliance.ports:
            wire.plug_tap(self.name, port=port.name, link=port.link)
        self.connection = libvirtd.start(self.name, logs=self.work / "logs")
        self.stack.callback(self.hang_up)
        self.boot()

    def hang_up(self) -> None:
        """Before the lab is removed, or left alone: no connection of ours may be in the way."""
        if not self.kept:
            self.disconnect()
            self.destroy()
        self.connection.close()

    def disconnect(self) -> None:
        """Let go of the appliance before it's gone."""
        self.appliance.asker.close()
        self.ssh.close()

    def destroy(self) -> None:
        """Pull the plug, if it's running."""
        if self.domain is not None:
            with suppress(libvirt.libvirtError):
                self.domain.destroy()
            self.domain = None

    def boot(self) -> None:
        """Boot the appliance from the image, on a new disk, until its services are up."""
        image = self.work / "image.qcow2"
        # A name of our own for it: a new build may take its place while this lab is up.
        image.unlink(missing_ok=True)
        link_or_copy(image_file("sluice.qcow2"), image)
        kernel = image_file("vmlinuz")
        self.type = acceleration(kernel)
        self.disk.unlink(missing_ok=True)
        run(["qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", image, self.disk])
        self.console_log.unlink(missing_ok=True)
        direct = None
        if self.direct_kernel:
            direct = DirectKernel(
                kernel=kernel,
                initrd=image_file("initrd"),
                cmdline=image_file("cmdline").read_text().strip("\0 \n"),
            )
        machine = Machine(
            name=self.name,
            type=self.type,
            disk=self.disk,
            nvram=self.work / "nvram.fd",
            console_socket=self.console_socket,
            console_log=self.console_log,
            credentials={
                "ssh.authorized_keys.root": make_key(),
                "network.network.05-lab-management": management_network(),
                "system.hostname": "sluice",
            },
            bios=self.bios,
            direct=direct,
            exports=self.exports,
            extra_cmdline=self.cmdline,
        )
        xml = domain_xml(self.topology.appliance, machine)
        (self.work / "domain.xml").write_text(xml)
        how = "with KVM" if self.type == "kvm" else "emulated, which takes a minute or two"
        with step(f"booting the appliance ({how})"):
            try:
                self.power_on(xml)
                self.wait_until_up()
            except LostInterruptError as lost:
                progress(f"{lost.message}: once more")
                self.ask_why()
                self.destroy()
                self.console_log.rename(self.console_log.with_suffix(".lost-interrupt.log"))
                self.power_on(xml)
                self.wait_until_up()

    def power_on(self, xml: str) -> None:
        try:
            self.domain = self.connection.createXML(xml, 0)
        except libvirt.libvirtError as error:
            raise LabError(f"libvirt can't start the appliance: {error}") from None

    def wait_until_up(self) -> None:
        deadline = time.monotonic() + BOOT_SECONDS[self.type]
        hint = f"its serial console said: {self.console_log}"

        def at_login() -> bool:
            return b"login:" in self.check_alive(hint)

        def reachable() -> bool:
            self.check_alive(hint)
            return self.ssh.reachable()

        wait_for(at_login, "login prompt of the appliance", timeout=self.left(deadline), hint=hint)
        progress("login prompt; waiting for its services")
        wait_for(
            reachable,
            "SSH to the appliance",
            timeout=self.left(deadline),
            interval=1,
            hint=hint,
        )

        # No job left: the boot has ended. Whether it ended well is for the suites to judge.
        def settled() -> bool:
            self.check_alive(hint)
            return not self.jobs()

        try:
            wait_for(
                settled,
                "end of the appliance's boot",
                timeout=self.left(deadline),
                interval=2,
            )
        except LostInterruptError:
            raise
        except LabError:
            jobs = ", ".join(self.jobs())
            self.appliance.collect(self.work)
            raise LabError(
                f"the appliance is still booting after {BOOT_SECONDS[self.type]} s: {jobs}",
                hint=f"see {self.work}/appliance.txt",
            ) from None

    def jobs(self) -> list[str]:
        """Units that systemd is still starting."""
        listed = self.appliance.sh("systemctl list-jobs --no-legend --plain")
        return [line.split()[1] for line in listed.splitlines() if line.endswith("running")]

    @staticmethod
    def left(deadline: float) -> float:
        return max(1.0, deadline - time.monotonic())

    def console_bytes(self) -> bytes:
        return self.console_log.read_bytes() if self.console_log.exists() else b""

    def check_alive(self, hint: str) -> bytes:
        """Refuse to wait for a guest that has ended, panicked or stands still; what its console said."""
        self.check_running()
        said = self.console_bytes()
        if self.type == "qemu" and LOST_INTERRUPT.search(said):
            raise LostInterruptError("the emulator has lost an interrupt of the guest", hint=hint)
        panic = PANIC.search(said)
        if panic:
            reason = panic[1].decode(errors="replace")
            raise LabError(f"the appliance's kernel panicked: {reason}", hint=hint)
        return said

    def ask_why(self) -> None:
        """Have the kernel of a guest that stands still say on its console who waits for what."""
        for key in SYSRQ_ALL_MESSAGES, SYSRQ_BLOCKED_TASKS, SYSRQ_ACTIVE_CPUS:
            with suppress(libvirt.libvirtError):
                self.domain.sendKey(libvirt.VIR_KEYCODE_SET_LINUX, 100, [ALT, SYSRQ, key], 3, 0)
            time.sleep(1)  # a keystroke takes its time, and so does the emulated UART

    def check_running(self) -> None:
        try:
            active = self.domain.isActive()
        except libvirt.libvirtError:
            active = False
        if not active:
            raise LabError(
                "the virtual machine ended", hint=f"see {self.work}/logs and {self.console_log}"
            )

    def save(self) -> None:
        """Keep the running appliance, memory and disk, to go back to; it's stopped meanwhile."""
        with step("saving the booted appliance"):
            self.disconnect()
            self.domain.save(str(self.work / "saved.state"))
            self.domain = None
            shutil.copyfile(self.disk, self.work / "saved.qcow2")

    def restore(self) -> None:
        """Go back to the saved appliance, whatever became of the one that runs."""
        with step("restoring the booted appliance"):
            self.disconnect()
            self.destroy()
            shutil.copyfile(self.work / "saved.qcow2", self.disk)
            self.connection.restore(str(self.work / "saved.state"))
            self.domain = self.connection.lookupByName(self.name)
            wait_for(self.ssh.reachable, "SSH to the restored appliance", timeout=180)
            # Its clock stood still.
            self.appliance.run(["date", "--utc", "--set", f"@{time.time():.3f}"])


def image_file(name: str) -> Path:
    path = paths.IMAGE / name
    if not path.exists():
        raise LabError(
            f"{path} doesn't exist", hint="build the image first: make image (takes some minutes)"
        )
    return path


def link_or_copy(source: Path, target: Path) -> None:
    try:
        target.hardlink_to(source)
    except OSError:
        shutil.copyfile(source, target)
