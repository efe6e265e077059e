"""Keywords: is the booted appliance as it should be?"""

import re

from lab import paths, proc
from lab.keywords.session import SESSION
from lab.netns import in_namespace, namespace

__all__ = [
    "console_shows",
    "daemon_should_run",
    "disk_should_have_booted_by",
    "every_port_should_be_bound",
    "fast_path_check_should_find_nothing_wrong",
    "management_port_should_belong_to_linux",
    "no_unit_should_have_failed",
    "only_ssh_should_listen",
    "password_login_should_be_refused",
    "version_should_be_shown",
]

DPDK_DRIVERS = ("vfio-pci", "uio_pci_generic")


def console_shows(text: str) -> None:
    """The serial console has shown the text since the boot."""
    said = SESSION.current.console_bytes().decode(errors="replace")
    assert text in said, f"the serial console hasn't shown {text!r}"


def no_unit_should_have_failed() -> None:
    """Systemd says `running`: all jobs are done and no unit has failed."""
    appliance = SESSION.appliance
    wait = ["systemctl", "is-system-running", "--wait"]
    state = appliance.run(wait, check=False, timeout=120).stdout.strip()
    failed = appliance.sh("systemctl --failed --no-legend --plain", check=False)
    assert state == "running", f"the system is {state}; failed: {failed or 'none'}"


def daemon_should_run(unit: str) -> None:
    """The unit is active, and never had to be restarted."""
    words = ["systemctl", "show", "--property=ActiveState,SubState,NRestarts", unit]
    shown = SESSION.appliance.run(words).stdout
    values = dict(line.split("=", 1) for line in shown.splitlines())
    assert values.get("ActiveState") == "active", f"{unit} is {values}"
    assert values.get("NRestarts", "0") == "0", f"{unit} was restarted: {values}"


def disk_should_have_booted_by(firmware: str) -> None:
    """The kernel was started by UEFI or BIOS, whichever is meant."""
    efi = SESSION.appliance.sh("test -d /sys/firmware/efi && echo UEFI || echo BIOS")
    assert efi == firmware, f"the kernel was started by {efi}"


def every_port_should_be_bound() -> None:
    """Each NIC but the first belongs to DPDK, and each is a port that is there in Linux too."""
    appliance = SESSION.appliance
    expected = {port.mac: port.name for port in SESSION.current.topology.appliance.ports}
    ports = {row["mac"]: row for row in appliance.fp_cli("ports")}
    missing = [name for mac, name in expected.items() if mac not in ports]
    assert not missing, f"not ports of the fast path: {missing}; it has {sorted(ports)}"
    for mac in expected:
        row = ports[mac]
        driver = appliance.sh(f"basename $(readlink /sys/bus/pci/devices/{row['device']}/driver)")
        assert driver in DPDK_DRIVERS, f"{row['device']} has the driver {driver}"
        assert appliance.find_device(mac) == row["name"], f"no interface {row['name']} in Linux"
        assert row["link"], f"port {row['name']} has no link"


def management_port_should_belong_to_linux() -> None:
    """The NIC we're logged in through is none of the fast path's."""
    device = SESSION.appliance.sh("ip -o route get 10.255.255.1 | grep -o 'dev [^ ]*'").split()[1]
    names = [row["name"] for row in SESSION.appliance.fp_cli("ports")]
    assert device not in names, f"the fast path has the management port {device}"


def version_should_be_shown() -> None:
    """The release file and os-release name the product and the same version."""
    release = SESSION.appliance.sh("cat /etc/sluice-release")
    match = re.match(r"Sluice (\d+\.\d+\S*)", release)
    assert match, f"/etc/sluice-release says {release!r}"
    pretty = SESSION.appliance.sh(". /etc/os-release; echo $PRETTY_NAME")
    assert match[1] in pretty, f"os-release says {pretty!r}, not version {match[1]}"


def only_ssh_should_listen() -> None:
    """No TCP or UDP socket listens but sshd's; DHCP's client answers to nobody else."""
    lines = SESSION.appliance.sh("ss -Hlntup").splitlines()
    others = [line for line in lines if '"sshd"' not in line]
    assert not others, f"listening: {others}"
    assert lines, "nothing listens, not even SSH"


def password_login_should_be_refused() -> None:
    """The SSH server offers no login but by key."""
    lab = SESSION.current
    options = ["-F", "none", "-o", "PubkeyAuthentication=no", "-o", "StrictHostKeyChecking=no"]
    options += ["-o", "UserKnownHostsFile=/dev/null", "-o", "NumberOfPasswordPrompts=1"]
    options += ["-o", "ConnectTimeout=20", "-o", "LogLevel=ERROR", "-o", "BatchMode=no"]
    words = ["setsid", "ssh", *options, f"root@{lab.ssh.address}", "true"]
    done = proc.run(in_namespace(namespace(lab.name), words), check=False, timeout=60)
    assert done.returncode == 255, "a login without a key was accepted"
    assert "(publickey)" in done.stderr, f"the server offers more than keys: {done.stderr.strip()}"


def fast_path_check_should_find_nothing_wrong() -> None:
    """`fp-rte --check` accepts the configuration the fast path runs with."""
    done = SESSION.appliance.run(["fp-rte", "--check"], check=False)
    folder = paths.work_dir(SESSION.current.name)
    (folder / "check.txt").write_text(done.stdout + done.stderr)
    assert done.returncode == 0, f"fp-rte --check: {(done.stderr or done.stdout).strip()}"
