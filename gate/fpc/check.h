// SPDX-License-Identifier: BSD-3-Clause
/* Is a client's frame well-formed? Pure: from the frame and the feature's description to a whole struct, so that nobody
 * behind it has to look at sizes again. */
#pragma once

#include <stddef.h>

#include "features/feature.h"
#include "fpc/fpc.h"
#include "lib/err.h"

/* The longest body, for the buffer that check_frame fills. */
#define FPC_MAX_BODY (FPC_MAX_FRAME - sizeof(struct fpc_frame))

/* Checks a frame sent to fpmd and writes its body, filled up with zeros to the receiver's struct, to @ret_whole
 * (FPC_MAX_BODY bytes, aligned to 8): struct fpc_hello, struct fpc_audit, the feature's object or its key (a DEL's other fields are not
 * read). @feature: what feature_find says of @head->feature. On failure @ret_field names the field in question, or "";
 * -EOPNOTSUPP: unknown verb or feature, -EINVAL: the rest. */
int check_frame(const struct fpc_frame *head, const void *body, size_t len,
		const struct feature *feature, void *ret_whole, const char **ret_field,
		struct err *err);

/* Fills @whole, @size bytes, from @body. -EINVAL: longer, and not only by zeros. */
int check_grow(void *whole, size_t size, const void *body, size_t len, struct err *err);
