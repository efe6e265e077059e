# SPDX-License-Identifier: BSD-3-Clause
"""NETCONF: framing, sessions, operations, notifications."""
