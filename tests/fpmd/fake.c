// SPDX-License-Identifier: BSD-3-Clause
#include "fake.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

char fake_log[8192];
bool fake_room;
bool fake_applied[N_PARTS][64];
unsigned fake_sets;

void fake_forget(void)
{
	fake_log[0] = '\0';
	fake_sets = 0;
}

static void note(const char *what, unsigned part, const struct thing *t, const struct thing *old)
{
	size_t at = strlen(fake_log);

	if (at > sizeof(fake_log) - 100)
		return;
	at += (size_t)sprintf(fake_log + at, "%s %s %u=%u", what, fake_parts[part].feature->name,
			      t->id, t->value);
	if (old)
		at += (size_t)sprintf(fake_log + at, " was %u", old->value);
	sprintf(fake_log + at, ";");
}

static int set(unsigned part, const void *msg, const void *old, uint64_t *priv, int code,
	       const char *field, struct err *err)
{
	const struct thing *t = msg;

	fake_sets++;
	note(code ? code == EAGAIN ? "park" : "refuse" : "set", part, t, old);
	fake_applied[part][t->id % 64] = !code;
	*priv = code ? 0 : 1000 + t->id;
	if (code && field) {
		fpm_field(field);
		return err_set(err, code, "thing %u: no", t->id);
	}
	return -code;
}

static void del(unsigned part, const void *old, uint64_t priv)
{
	const struct thing *t = old;

	/* What set left is handed back. */
	if (priv != 1000 + t->id)
		strcat(fake_log, "(wrong priv!)");
	note("del", part, t, NULL);
	fake_applied[part][t->id % 64] = false;
}

static int set_base(struct fpm *fpm, const void *msg, const void *old, uint64_t *priv,
		    struct err *err)
{
	const struct thing *t = msg;
	int code = t->value == 666 ? EINVAL : t->value == 777 && !fake_room ? ENOSPC : 0;

	return set(PART_BASE, msg, old, priv, code, "value", err);
}

static void del_base(struct fpm *fpm, const void *old, uint64_t priv)
{
	del(PART_BASE, old, priv);
}

static int set_child(struct fpm *fpm, const void *msg, const void *old, uint64_t *priv,
		     struct err *err)
{
	const struct thing *t = msg;

	return set(PART_CHILD, msg, old, priv, fake_applied[PART_BASE][t->base % 64] ? 0 : EAGAIN,
		   "base", err);
}

static void del_child(struct fpm *fpm, const void *old, uint64_t priv)
{
	del(PART_CHILD, old, priv);
}

static const struct feature base = {
	.name = "base",
	.id = BASE,
	.msg_size = sizeof(struct thing),
	.key_size = 4,
	.known_flags = 1,
	.owner = FPC_ROLE_SYNC,
	.secret_at = offsetof(struct thing, more[2]),
	.secret_size = 8,
};
static const struct feature child = {
	.name = "child",
	.id = CHILD,
	.msg_size = sizeof(struct thing),
	.key_size = 4,
	.known_flags = 1,
	.owner = FPC_ROLE_SYNC,
};
static const struct feature box = {
	.name = "box",
	.id = BOX,
	.msg_size = sizeof(struct thing),
	.key_size = 4,
	.owner = FPC_ROLE_RTE,
};

static const struct fpm_apply base_apply = {.set = set_base, .del = del_base};
static const struct fpm_apply child_apply = {
	.depends = 1 << BASE,
	.set = set_child,
	.del = del_child,
};
static const struct fpm_apply box_apply = {};

const struct fpm_part fake_parts[N_PARTS] = {
	[PART_BASE] = {&base, &base_apply},
	[PART_CHILD] = {&child, &child_apply},
	[PART_BOX] = {&box, &box_apply},
};
