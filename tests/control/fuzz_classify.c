// SPDX-License-Identifier: BSD-3-Clause
/* Any frame: the classifier reads nothing beyond it (the copy has its exact size), and what stands behind a control plane
 * packet as padding doesn't make it another. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "fastpath/classify.h"
#include "fastpath/fp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static bool ready;
	uint8_t *copy = malloc(size ? size : 1);
	struct err err;
	bool control;

	if (!ready && control_fastpath.init(&err))
		abort();
	ready = true;
	memcpy(copy, data, size);
	control = fp_is_control(copy, size);
	assert(fp_classify(EXCEPTION_IP_LOCAL, copy, size) ==
	       (control ? FP_CLASS_CONTROL : FP_CLASS_LOCAL));
	assert(fp_classify(EXCEPTION_IP_TTL, copy, size) ==
	       (control ? FP_CLASS_CONTROL : FP_CLASS_FORWARDED));
	assert(fp_classify(EXCEPTION_IP_NO_ROUTE, copy, size) == FP_CLASS_FORWARDED);
	free(copy);
	return 0;
}
