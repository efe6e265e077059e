# SPDX-License-Identifier: BSD-3-Clause
"""hitflagsd: what only the fast path used stays alive in Linux, as if Linux had used it.

    kernel --(events, dumps: netlink.py)--> each feature's hits.py --(requests)--> kernel
                                                  ^ hit times
                                            shared memory (memory.py)

A feature brings a Refresher in gate/features/<name>/hits.py (refresher.py says what that is). app.py drives them: it
hands them the kernel's messages, and asks once a second what is to be refreshed.
"""
