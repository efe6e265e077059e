// SPDX-License-Identifier: BSD-3-Clause
/* Gives a machine's ports and huge pages to the fast path; root, at boot. */
#pragma once

#include "fastpath/plan.h"
#include "lib/paths.h"

/* Loads drivers, remembers the ports' names, binds the PCI ports and reserves huge pages. Doing it again changes nothing.
 * On failure a port that was being bound goes back to its kernel driver. */
int bind_ports(const struct plan *plan, const struct system *system, const struct paths *paths,
	       struct err *err);
