# SPDX-License-Identifier: BSD-3-Clause
"""Looking inside: fp-cli and fp-cpu-usage."""
