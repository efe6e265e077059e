// SPDX-License-Identifier: BSD-3-Clause
/* Function-call tracking, for debugging: a build with `meson setup -Dtrack=true` notes each entry into and return from our
 * functions, in a ring of each thread. When the process dies of a signal (SIGSEGV, SIGABRT, ...) the latest calls of all
 * threads are written to standard error, and so to the journal, before it goes on to die as it would have:
 *
 *   track: thread dpdk-worker1
 *   track: > fp-rte(+0x1f2a0)         called; `addr2line -f -e fp-rte 0x1f2a0` names it
 *   track: < fp-rte(+0x1f2a0)         returned
 *
 * Other builds contain nothing of it, so there it costs nothing. With it the fast path is many times slower. */
#pragma once

#define TRACK_CALLS   4096 /* that a thread's ring holds: calls and returns */
#define TRACK_SHOWN   64   /* of each thread when the process dies */
#define TRACK_THREADS 80   /* that are followed */
