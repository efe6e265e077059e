// SPDX-License-Identifier: BSD-3-Clause
#include "fpc/record.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "features/feature.h"
#include "fpc/frame.h"

struct record; /* a FILE in disguise: nobody needs to know */

int record_open(struct record **ret, const char *path, struct err *err)
{
	FILE *file = fopen(path, "ae");

	if (!file)
		return err_set(err, errno, "can't write the recording %s: %s", path,
			       strerror(errno));
	setvbuf(file, NULL, _IOLBF, 1 << 18);
	*ret = (struct record *)file;
	return 0;
}

static void put_name(FILE *file, const char *name, uint16_t number)
{
	if (name)
		fprintf(file, "\"%s\"", name);
	else
		fprintf(file, "%u", number);
}

void record_frame(struct record *record, uint32_t conn, const char *name, const char *dir,
		  const struct fpc_frame *head, const struct feature *feature, const void *body,
		  size_t len)
{
	bool object = head->verb == FPC_SET || head->verb == FPC_DEL;
	size_t secret = feature && object ? feature->secret_at : SIZE_MAX;
	FILE *file = (FILE *)record;
	struct timespec now;

	if (!record)
		return;
	clock_gettime(CLOCK_MONOTONIC, &now);
	fprintf(file, "{\"time\": %lld.%06ld, \"conn\": %u, \"name\": \"", (long long)now.tv_sec,
		now.tv_nsec / 1000, conn);
	for (const char *c = name; *c; c++)
		fprintf(file, *c == '"' || *c == '\\' ? "\\%c" : "%c", *c);
	fprintf(file, "\", \"dir\": \"%s\", \"seq\": %u, \"verb\": ", dir, head->seq);
	put_name(file, frame_verb_name(head->verb), head->verb);
	fputs(", \"feature\": ", file);
	put_name(file, feature ? feature->name : NULL, head->feature);
	fprintf(file, ", \"flags\": %u, \"body\": \"", head->flags);
	for (size_t i = 0; i < len; i++) {
		uint8_t b = ((const uint8_t *)body)[i];

		if (i >= secret && i - secret < feature->secret_size)
			b = 0;
		fputc("0123456789abcdef"[b >> 4], file);
		fputc("0123456789abcdef"[b & 15], file);
	}
	fputs("\"}\n", file);
}

void record_close(struct record *record)
{
	if (record)
		fclose((FILE *)record);
}
