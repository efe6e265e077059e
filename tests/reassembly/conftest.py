# SPDX-License-Identifier: BSD-3-Clause
"""Each file makes what it needs."""
