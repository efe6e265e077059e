// SPDX-License-Identifier: BSD-3-Clause
/* fp-rte's special exceptions: one fpn0 for each VRF that wants one, made, watched and removed by the control thread, written
 * to by the exception thread, which alone closes what it writes to. */
#pragma once

#include "fastpath/fp.h"

/* Control thread: before the others start; and ten times a second. */
void specials_look(void);
/* Control thread, after all others ended. */
void specials_end(void);

/* fp_edges.to_special: any worker. */
bool specials_put(struct fp_worker *w, uint32_t vrf, enum fp_class class, struct rte_mbuf *m,
		  enum reason *ret_reason);

/* Exception thread: takes over what the control thread has made, lets go of what it doesn't want any more. Cheap when nothing
 * changed. */
void specials_turn(void);
/* Exception thread: the fd for a packet that specials_put took; -1: it's gone. */
int specials_fd(const struct rte_mbuf *m);
