# SPDX-License-Identifier: BSD-3-Clause
"""cmgrd, the Cache Manager: follows the kernel over Netlink and tells fpmd, over FPC, what the fast path should know.

    kernel --(sockets: netlink.py)--> messages --(wire.py)--> objects (kernel.py) --(a feature's cmgr.py)--> FPC objects
    kernel --(in C: inlet.c)--> messages of routes and neighbours --(a feature's native.c)--> FPC objects
    FPC objects (objects.py, store.c) --(session.py)--> fpmd

What is between the two edges is pure: core.py hands each message to the features that want it, and a feature turns the
kernel's objects into FPC objects. app.py drives it. `--record` writes what goes into the core as JSON lines
(recording.py), which is also the input of the golden tests.
"""
