# SPDX-License-Identifier: BSD-3-Clause
"""`sluice`, the command line: a NETCONF client whose commands come from the YANG models. See README.md."""
