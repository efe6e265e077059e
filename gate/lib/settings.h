// SPDX-License-Identifier: BSD-3-Clause
/* The settings of an instance: /etc/sluice/fast-path.env, KEY=VALUE lines as systemd's EnvironmentFile reads them
 * ('#' and ';' comments, single and double quotes). settings.def lists them. */
#pragma once

#include <stdint.h>

#include "lib/err.h"

#define SETTINGS_PATH	 "/etc/sluice/fast-path.env"
#define SETTING_AUTO	 UINT32_MAX /* a NUMBER or CHOICE that says auto */
#define SETTING_TEXT_MAX 1024

struct settings {
#define NUMBER uint32_t
#define CHOICE uint32_t /* 0 for the first choice, ... */
#define TEXT   char
#define SETTING_DIM_NUMBER
#define SETTING_DIM_CHOICE
#define SETTING_DIM_TEXT			   [SETTING_TEXT_MAX] /* "" for auto */
#define SETTING(field, name, kind, min, max, help) kind field SETTING_DIM_##kind;
#include "lib/settings.def"
#undef SETTING
#undef NUMBER
#undef CHOICE
#undef TEXT
};

enum { HUGEPAGES_YES, HUGEPAGES_NO };
enum { TAP_VHOST, TAP_QUEUE };
enum { SPREAD_NO, SPREAD_YES };

/* All auto. */
void settings_init(struct settings *ret);

/* Parses @len bytes at @text (not NUL-terminated; @name for errors: "NAME:LINE: ...") over @settings, which is
 * untouched on failure. Unknown keys, values out of range, stray quotes: -EINVAL. Pure: the fuzz target calls it. */
int settings_parse(struct settings *settings, const char *text, size_t len, const char *name,
		   struct err *err);

/* settings_init, then the file @path. A missing file: -ENOENT unless @path is SETTINGS_PATH, which may be missing. */
int settings_load(struct settings *ret, const char *path, struct err *err);

/* @value, or @fallback where it is auto. */
static inline uint32_t setting_or(uint32_t value, uint32_t fallback)
{
	return value == SETTING_AUTO ? fallback : value;
}
