# SPDX-License-Identifier: BSD-3-Clause
"""The management plane; README.md tells the design."""
