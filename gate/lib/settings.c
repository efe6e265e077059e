// SPDX-License-Identifier: BSD-3-Clause
#include "lib/settings.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum kind { NUMBER, TEXT, CHOICE };

static const struct setting {
	const char *key;
	enum kind kind;
	uint32_t min, max;
	const char *help; /* of a CHOICE: "text|first value|second value" */
	size_t offset;
} table[] = {
#define SETTING(field, name, kind, min, max, help)                                                 \
	{name, kind, min, max, help, offsetof(struct settings, field)},
#include "lib/settings.def"
#undef SETTING
};

#define FILE_MAX 65536

void settings_init(struct settings *ret)
{
	memset(ret, 0, sizeof(*ret));
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		if (table[i].kind != TEXT)
			*(uint32_t *)((char *)ret + table[i].offset) = SETTING_AUTO;
}

static const struct setting *find(const char *key)
{
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		if (!strcmp(table[i].key, key))
			return &table[i];
	return NULL;
}

/* The number of @value among the choices behind the help's first '|'; -1: none of them. */
static int choice_index(const struct setting *s, const char *value)
{
	const char *c = strchr(s->help, '|');
	size_t len = strlen(value);

	for (int i = 0; c; i++) {
		const char *end = strchr(++c, '|');

		if (len == (end ? (size_t)(end - c) : strlen(c)) && !strncmp(c, value, len))
			return i;
		c = end;
	}
	return -1;
}

/* " or "-joined list of the choices, in a static buffer: for the one error line. */
static const char *choices(const struct setting *s)
{
	static char text[128];
	const char *c = strchr(s->help, '|');
	int n = snprintf(text, sizeof(text), "auto");

	while (c && n < (int)sizeof(text)) {
		const char *end = strchr(++c, '|');

		n += snprintf(text + n, sizeof(text) - (size_t)n, " or %.*s",
			      end ? (int)(end - c) : (int)strlen(c), c);
		c = end;
	}
	return text;
}

static int set_number(const struct setting *s, const char *value, uint32_t *field, const char *at,
		      struct err *err)
{
	unsigned long long v = 0;

	for (const char *c = value; *c; c++) {
		if (!isdigit((unsigned char)*c) || v > UINT32_MAX) {
			v = UINT64_MAX;
			break;
		}
		v = v * 10 + (unsigned)(*c - '0');
	}
	if (!*value || v < s->min || v > s->max) {
		err_set(err, EINVAL, "%s: %s=%s is no number from %u to %u", at, s->key, value,
			s->min, s->max);
		return err_hint(err, "give such a number, or auto");
	}
	*field = (uint32_t)v;
	return 0;
}

static int set_value(struct settings *settings, const char *key, const char *value, const char *at,
		     struct err *err)
{
	const struct setting *s = find(key);
	char *field;

	if (!s) {
		err_set(err, EINVAL, "%s: unknown setting %s", at, key);
		return err_hint(err, "fast-path.env(5) lists the settings");
	}
	field = (char *)settings + s->offset;
	if (!strcmp(value, "auto")) {
		if (s->kind == TEXT)
			*field = '\0';
		else
			*(uint32_t *)field = SETTING_AUTO;
		return 0;
	}
	switch (s->kind) {
	case NUMBER:
		return set_number(s, value, (uint32_t *)field, at, err);
	case CHOICE: {
		int i = choice_index(s, value);

		if (i < 0) {
			err_set(err, EINVAL, "%s: %s=%s is none of its values", at, s->key, value);
			return err_hint(err, "use %s", choices(s));
		}
		*(uint32_t *)field = (uint32_t)i;
		return 0;
	}
	case TEXT:
		if (strlen(value) >= SETTING_TEXT_MAX)
			return err_set(err, EINVAL, "%s: %s is longer than %d characters", at,
				       s->key, SETTING_TEXT_MAX - 1);
		strcpy(field, value);
		return 0;
	}
	return -EINVAL;
}

/* Takes white space and one pair of quotes off [@start, @end). False: a quote without its partner. */
static bool unquote(const char **start, const char **end)
{
	while (*start < *end && isspace((unsigned char)**start))
		(*start)++;
	while (*end > *start && isspace((unsigned char)(*end)[-1]))
		(*end)--;
	if (*start < *end && (**start == '"' || **start == '\'')) {
		if (*end - *start < 2 || (*end)[-1] != **start)
			return false;
		(*start)++;
		(*end)--;
	}
	for (const char *c = *start; c < *end; c++)
		if (*c == '"' || *c == '\'')
			return false;
	return true;
}

static int parse_line(struct settings *settings, const char *line, const char *end, const char *at,
		      struct err *err)
{
	char key[64], value[SETTING_TEXT_MAX + 64];
	const char *eq, *start;

	while (line < end && isspace((unsigned char)*line))
		line++;
	if (line == end || *line == '#' || *line == ';')
		return 0;
	eq = memchr(line, '=', (size_t)(end - line));
	if (!eq || eq == line || (size_t)(eq - line) >= sizeof(key)) {
		err_set(err, EINVAL, "%s: no KEY=VALUE line", at);
		return err_hint(err, "comments begin with '#'");
	}
	if (memchr(line, '\0', (size_t)(end - line)))
		return err_set(err, EINVAL, "%s: a NUL byte", at);
	memcpy(key, line, (size_t)(eq - line));
	key[eq - line] = '\0';
	start = eq + 1;
	if (!unquote(&start, &end))
		return err_set(err, EINVAL, "%s: %s has a quote too many or too few", at, key);
	if ((size_t)(end - start) >= sizeof(value))
		return err_set(err, EINVAL, "%s: %s is longer than %d characters", at, key,
			       SETTING_TEXT_MAX - 1);
	memcpy(value, start, (size_t)(end - start));
	value[end - start] = '\0';
	return set_value(settings, key, value, at, err);
}

int settings_parse(struct settings *settings, const char *text, size_t len, const char *name,
		   struct err *err)
{
	struct settings parsed = *settings;
	const char *end = text + len;
	unsigned number = 1;

	for (const char *line = text; line < end; number++) {
		const char *eol = memchr(line, '\n', (size_t)(end - line));
		char at[160];
		int rc;

		if (!eol)
			eol = end;
		snprintf(at, sizeof(at), "%s:%u", name, number);
		rc = parse_line(&parsed, line, eol, at, err);
		if (rc)
			return rc;
		line = eol + 1;
	}
	*settings = parsed;
	return 0;
}

int settings_load(struct settings *ret, const char *path, struct err *err)
{
	FILE *f = fopen(path, "re");
	struct settings s;
	char *text;
	size_t len;
	int rc;

	settings_init(&s);
	if (!f) {
		if (errno == ENOENT && !strcmp(path, SETTINGS_PATH)) {
			*ret = s;
			return 0;
		}
		err_set(err, errno, "can't read %s: %s", path, strerror(errno));
		return err_hint(err, "name a file that's there with --env; without it %s is used",
				SETTINGS_PATH);
	}
	text = malloc(FILE_MAX);
	if (!text) {
		fclose(f);
		return err_set(err, ENOMEM, "no memory to read %s", path);
	}
	len = fread(text, 1, FILE_MAX, f);
	if (ferror(f))
		rc = err_set(err, EIO, "can't read %s", path);
	else if (len == FILE_MAX)
		rc = err_set(err, EFBIG, "%s is larger than %d bytes", path, FILE_MAX - 1);
	else
		rc = settings_parse(&s, text, len, path, err);
	fclose(f);
	free(text);
	if (!rc)
		*ret = s;
	return rc;
}
