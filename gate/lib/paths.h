// SPDX-License-Identifier: BSD-3-Clause
/* Where an instance's files are. One machine runs many instances; all their paths hang on the instance's name. */
#pragma once

#include "lib/err.h"

#define INSTANCE_DEFAULT  "main"
#define INSTANCE_NAME_MAX 32 /* with the final NUL */
#define PATH_LEN	  128

struct paths {
	char instance[INSTANCE_NAME_MAX];
	char run_dir[PATH_LEN];	   /* /run/sluice/<instance> */
	char fpc_socket[PATH_LEN]; /* <run_dir>/fpc.sock: fpmd listens */
	char rte_socket[PATH_LEN]; /* <run_dir>/rte.sock: fp-rte listens, for traces */
	char rte_lock[PATH_LEN];   /* <run_dir>/fp-rte.lock: held (flock) by the living fp-rte */
	char fpmd_lock[PATH_LEN];  /* <run_dir>/fpmd.lock: likewise */
	char ports_file
		[PATH_LEN]; /* <run_dir>/ports: what `fp-rte --bind` bound, NAME=PCI a line */
	char config_shm[PATH_LEN]; /* /dev/shm/sluice.<instance>: fpmd writes */
	char stats_shm[PATH_LEN];  /* /dev/shm/sluice.<instance>.stats: fp-rte writes */
};

/* Fills @ret for @instance (1 to 31 letters, digits, '-', '_'; else -EINVAL) and makes run_dir (0755). */
int paths_init(struct paths *ret, const char *instance, struct err *err);
