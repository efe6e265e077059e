# SPDX-License-Identifier: BSD-3-Clause
"""sshd's subsystem `netconf` (RFC 6242): copies between its standard input and output and yamsd's socket.

It runs as the user who logged in; yamsd learns from the kernel who that is. All it says by itself is where from.
"""

import argparse
import json
import os
import selectors
import socket
import sys

SOCKET = "/run/sluice-mgmt/netconf.sock"


def relay(path: str) -> None:
    """Until both sides have ended, or the daemon's has."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.connect(path)
        host = os.environ.get("SSH_CONNECTION", "").partition(" ")[0]
        sock.sendall(json.dumps({"host": host}).encode() + b"\n")
        with selectors.DefaultSelector() as selector:
            selector.register(0, selectors.EVENT_READ)
            selector.register(sock, selectors.EVENT_READ)
            while True:
                for key, _ in selector.select():
                    if key.fd == 0:
                        data = os.read(0, 1 << 16)
                        if data:
                            sock.sendall(data)
                        else:
                            selector.unregister(0)
                            sock.shutdown(socket.SHUT_WR)
                        continue
                    view = memoryview(sock.recv(1 << 16))
                    if not view:
                        return
                    while view:
                        view = view[os.write(1, view) :]


def main() -> None:
    """The program."""
    parser = argparse.ArgumentParser(
        prog="yams-netconf", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--socket", default=SOCKET, help=f"yamsd's socket (default: {SOCKET})")
    options = parser.parse_args()
    try:
        relay(options.socket)
    except (BrokenPipeError, ConnectionResetError):
        sys.exit(0)
    except OSError as error:
        sys.exit(
            f"yams-netconf: error: can't reach yamsd at {options.socket}: {error.strerror}\n"
            "yams-netconf: hint: systemctl status yamsd"
        )


if __name__ == "__main__":
    main()
