# SPDX-License-Identifier: BSD-3-Clause
"""fpsd: what the fast path counted goes into the kernel, where Netlink can set it.

counters.py is the seam, places.py the edge to the kernel, ledger.py what has been told so far.
"""
