# SPDX-License-Identifier: BSD-3-Clause
"""Special exceptions with the appliance's own kernel and its own fp-rte: the same tests in its virtual machine."""

import pytest

from tests.fptun.test_fptun import (
    TestPolicies,
    guarded,
    probed_rig,
    rig,
    test_each_vrf_has_its_own,
    test_it_goes_with_fp_rte_and_comes_with_the_next_one,
    test_its_policies_close_no_vrf_and_come_back,
    test_nobody_else_can_write_to_fpn0,
)

pytestmark = pytest.mark.vm

__all__ = [
    "TestPolicies",
    "guarded",
    "probed_rig",
    "rig",
    "test_each_vrf_has_its_own",
    "test_it_goes_with_fp_rte_and_comes_with_the_next_one",
    "test_its_policies_close_no_vrf_and_come_back",
    "test_nobody_else_can_write_to_fpn0",
]
