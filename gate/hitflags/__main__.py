# SPDX-License-Identifier: BSD-3-Clause
"""python -m sluice.hitflags."""

from sluice.hitflags.app import main

main()
