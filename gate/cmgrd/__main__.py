# SPDX-License-Identifier: BSD-3-Clause
"""python -m sluice.cmgrd."""

from sluice.cmgrd.app import main

main()
