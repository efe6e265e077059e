// SPDX-License-Identifier: BSD-3-Clause
#include "fpc/check.h"

#include <errno.h>
#include <string.h>

#include "fpc/frame.h"

int check_grow(void *whole, size_t size, const void *body, size_t len, struct err *err)
{
	if (len > size && frame_trim(body, len, size) > size)
		return err_set(err, EINVAL,
			       "struct of %zu bytes, %zu are known and the rest isn't zero", len,
			       size);
	if (len > size)
		len = size;
	if (len)
		memcpy(whole, body, len);
	memset((char *)whole + len, 0, size - len);
	return 0;
}

static int check_object(const struct fpc_frame *head, const void *body, size_t len,
			const struct feature *feature, void *ret_whole, const char **ret_field,
			struct err *err)
{
	uint32_t flags;
	int rc;

	if (!feature || !feature->msg_size)
		return err_set(err, EOPNOTSUPP, "feature %u has no objects", head->feature);
	if (len < feature->key_size)
		return err_set(err, EINVAL, "body of %zu bytes, the key of %s alone takes %u", len,
			       feature->name, feature->key_size);
	if (head->verb == FPC_DEL) {
		memcpy(ret_whole, body, feature->key_size);
		return 0;
	}
	rc = check_grow(ret_whole, feature->msg_size, body, len, err);
	if (rc)
		return rc;
	memcpy(&flags, (const char *)ret_whole + feature->key_size, sizeof(flags));
	if (flags & ~feature->known_flags) {
		*ret_field = "flags";
		return err_set(err, EINVAL, "unknown flags 0x%x of %s",
			       flags & ~feature->known_flags, feature->name);
	}
	return 0;
}

int check_frame(const struct fpc_frame *head, const void *body, size_t len,
		const struct feature *feature, void *ret_whole, const char **ret_field,
		struct err *err)
{
	struct fpc_hello *hello = ret_whole;
	int rc;

	*ret_field = "";
	if (head->flags & ~FPC_F_ACK) {
		*ret_field = "frame.flags";
		return err_set(err, EINVAL, "unknown frame flags 0x%x", head->flags & ~FPC_F_ACK);
	}
	switch (head->verb) {
	case FPC_HELLO:
		if (head->feature) {
			*ret_field = "frame.feature";
			return err_set(err, EINVAL, "HELLO belongs to no feature");
		}
		if (len < sizeof(uint32_t) * 2)
			return err_set(err, EINVAL, "HELLO of %zu bytes is too short", len);
		rc = check_grow(hello, sizeof(*hello), body, len, err);
		if (rc)
			return rc;
		if (hello->version != FPC_VERSION) {
			*ret_field = "version";
			return err_set(err, EPROTO, "FPC version %u, this is version %u",
				       hello->version, FPC_VERSION);
		}
		if (hello->name[sizeof(hello->name) - 1]) {
			*ret_field = "name";
			return err_set(err, EINVAL, "the name isn't ended by a NUL");
		}
		for (const char *c = hello->name; *c; c++) {
			if (*c < ' ' || *c > '~') {
				*ret_field = "name";
				return err_set(err, EINVAL, "the name isn't printable");
			}
		}
		return 0;
	case FPC_SET:
	case FPC_DEL:
		return check_object(head, body, len, feature, ret_whole, ret_field, err);
	case FPC_AUDIT:
		if (!feature || !feature->msg_size) {
			*ret_field = "frame.feature";
			return err_set(err, EOPNOTSUPP, "feature %u has no objects", head->feature);
		}
		return check_grow(ret_whole, sizeof(struct fpc_audit), body, len, err);
	case FPC_SYNC_BEGIN:
	case FPC_SYNC_END:
	case FPC_DUMP:
		if (head->feature && (!feature || !feature->msg_size)) {
			*ret_field = "frame.feature";
			return err_set(err, EOPNOTSUPP, "feature %u has no objects", head->feature);
		}
		if (frame_trim(body, len, 0))
			return err_set(err, EINVAL, "%s takes no body",
				       frame_verb_name(head->verb));
		return 0;
	default:
		*ret_field = "frame.verb";
		return err_set(err, EOPNOTSUPP, "verb %u isn't for fpmd", head->verb);
	}
}
