# SPDX-License-Identifier: BSD-3-Clause
"""python -m sluice.fpsd."""

from sluice.fpsd.app import main

main()
