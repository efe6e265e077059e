// SPDX-License-Identifier: BSD-3-Clause
#include "stats/rewrite.h"

#include <inttypes.h>
#include <net/if.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEV_COLUMNS 16

struct word {
	const char *at;
	size_t len;
};

struct out {
	char *at;
	size_t size, len;
	bool full;
};

static void put(struct out *o, const char *text, size_t len)
{
	if (o->full || len > o->size - o->len) {
		o->full = true;
		return;
	}
	memcpy(o->at + o->len, text, len);
	o->len += len;
}

[[gnu::format(printf, 2, 3)]]
static void print(struct out *o, const char *format, ...)
{
	char text[512];
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	if (n < 0 || (size_t)n >= sizeof(text))
		o->full = true;
	else
		put(o, text, (size_t)n);
}

/* The next line without its newline; false: the text ends. */
static bool next_line(const char **at, size_t *left, struct word *ret)
{
	const char *end = *left ? memchr(*at, '\n', *left) : NULL;

	if (!*left)
		return false;
	*ret = (struct word){*at, end ? (size_t)(end - *at) : *left};
	*left -= ret->len + (end != NULL);
	*at += ret->len + (end != NULL);
	return true;
}

static bool next_word(struct word *line, struct word *ret)
{
	while (line->len && (*line->at == ' ' || *line->at == '\t'))
		line->at++, line->len--;
	*ret = (struct word){line->at, 0};
	while (ret->len < line->len && line->at[ret->len] != ' ' && line->at[ret->len] != '\t')
		ret->len++;
	line->at += ret->len;
	line->len -= ret->len;
	return ret->len;
}

static bool is(const struct word *w, const char *text)
{
	return w->len == strlen(text) && !memcmp(w->at, text, w->len);
}

static bool number(const struct word *w, uint64_t *ret)
{
	uint64_t value = 0;

	for (size_t i = 0; i < w->len; i++) {
		if (w->at[i] < '0' || w->at[i] > '9')
			return false;
		value = value * 10 + (uint64_t)(w->at[i] - '0');
	}
	*ret = value;
	return w->len && w->len <= 20;
}

/* What is to be added to the IP counter called @name; 0: nothing. */
static uint64_t ip_delta(const struct ip_counters *c, const struct word *name)
{
	const struct {
		const char *name;
		uint64_t value;
	} all[] = {
		{"InReceives", c->in_ecn[0] + c->in_ecn[1] + c->in_ecn[2] + c->in_ecn[3]},
		{"ForwDatagrams", c->out_forwarded},
		{"OutForwDatagrams", c->out_forwarded},
		{"OutTransmits", c->out_packets},
		{"InOctets", c->in_bytes},
		{"OutOctets", c->out_bytes},
		{"FragOKs", c->frag_oks},
		{"FragFails", c->frag_fails},
		{"FragCreates", c->frag_creates},
		{"InNoECTPkts", c->in_ecn[0]},
		{"InECT1Pkts", c->in_ecn[1]},
		{"InECT0Pkts", c->in_ecn[2]},
		{"InCEPkts", c->in_ecn[3]},
	};

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		if (is(name, all[i].name))
			return all[i].value;
	return 0;
}

/* As dev_seq_printf_stats writes it. */
static void dev_line(struct out *o, struct word line, const struct stats_source *source)
{
	const char *colon = memchr(line.at, ':', line.len);
	struct word rest = line, word;
	uint64_t n[DEV_COLUMNS];
	char name[IFNAMSIZ] = "";
	struct stats_delta d;
	unsigned found = 0;

	while (rest.len && *rest.at == ' ')
		rest.at++, rest.len--;
	if (!colon || (size_t)(colon - rest.at) >= sizeof(name))
		goto same;
	memcpy(name, rest.at, (size_t)(colon - rest.at));
	rest.len -= (size_t)(colon + 1 - rest.at);
	rest.at = colon + 1;
	while (found < DEV_COLUMNS && next_word(&rest, &word) && number(&word, &n[found]))
		found++;
	if (found < DEV_COLUMNS || !source->name(source->arg, name, &d))
		goto same;
	n[0] += d.rx_bytes;
	n[1] += d.rx_packets;
	n[2] += d.rx_errors;
	n[3] += d.rx_dropped + d.rx_missed;
	n[8] += d.tx_bytes;
	n[9] += d.tx_packets;
	n[10] += d.tx_errors;
	n[11] += d.tx_dropped;
	print(o,
	      "%6s: %7" PRIu64 " %7" PRIu64 " %4" PRIu64 " %4" PRIu64 " %4" PRIu64 " %5" PRIu64
	      " %10" PRIu64 " %9" PRIu64 " %8" PRIu64 " %7" PRIu64 " %4" PRIu64 " %4" PRIu64
	      " %4" PRIu64 " %5" PRIu64 " %7" PRIu64 " %10" PRIu64,
	      name, n[0], n[1], n[2], n[3], n[4], n[5], n[6], n[7], n[8], n[9], n[10], n[11], n[12],
	      n[13], n[14], n[15]);
	return;

same:
	put(o, line.at, line.len);
}

/* A line of values below its line of names. */
static void values_line(struct out *o, struct word names, struct word values,
			const struct ip_counters *c)
{
	struct word name, value;
	uint64_t n;

	next_word(&names, &name);
	next_word(&values, &value);
	put(o, value.at, value.len);
	while (next_word(&values, &value)) {
		put(o, " ", 1);
		if (next_word(&names, &name) && number(&value, &n))
			print(o, "%" PRIu64, n + ip_delta(c, &name));
		else
			put(o, value.at, value.len);
	}
}

static bool begins(struct word line, const char *prefix)
{
	return line.len > strlen(prefix) && !memcmp(line.at, prefix, strlen(prefix));
}

/* "Ip6InReceives      12" */
static void snmp6_line(struct out *o, struct word line, const struct ip_counters *c)
{
	struct word rest = line, name, value;
	uint64_t n, delta = 0;

	if (begins(line, "Ip6") && next_word(&rest, &name) && next_word(&rest, &value) &&
	    number(&value, &n)) {
		name.at += 3;
		name.len -= 3;
		delta = ip_delta(c, &name);
	}
	if (!delta) {
		put(o, line.at, line.len);
		return;
	}
	put(o, line.at, (size_t)(value.at - line.at));
	print(o, "%" PRIu64, n + delta);
}

/* "NAME/statistics/COUNTER" */
static uint64_t sysfs_delta(const char *counter, const struct stats_source *source)
{
	size_t len = strcspn(counter, "/");
	char name[IFNAMSIZ] = "";
	struct stats_delta d;

	if (len >= sizeof(name))
		return 0;
	memcpy(name, counter, len);
	if (strncmp(counter + len, "/statistics/", 12) != 0 || !source->name(source->arg, name, &d))
		return 0;
	counter += len + 12;
	const struct {
		const char *name;
		uint64_t value;
	} all[] = {
		{"rx_packets", d.rx_packets},	   {"rx_bytes", d.rx_bytes},
		{"rx_errors", d.rx_errors},	   {"rx_dropped", d.rx_dropped},
		{"rx_missed_errors", d.rx_missed}, {"tx_packets", d.tx_packets},
		{"tx_bytes", d.tx_bytes},	   {"tx_errors", d.tx_errors},
		{"tx_dropped", d.tx_dropped},
	};
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		if (!strcmp(counter, all[i].name))
			return all[i].value;
	return 0;
}

/* Of one device, by the number in its first line. */
static bool device_of(const char *text, size_t len, const struct stats_source *source,
		      struct stats_delta *ret)
{
	struct word line, name, value;
	uint64_t ifindex;

	return next_line(&text, &len, &line) && next_word(&line, &name) && is(&name, "ifIndex") &&
	       next_word(&line, &value) && number(&value, &ifindex) && ifindex <= UINT32_MAX &&
	       source->iface(source->arg, (uint32_t)ifindex, ret);
}

int64_t rewrite_text(enum stats_file file, const char *counter, const char *text, size_t len,
		     char *ret, size_t size, const struct stats_source *source)
{
	struct out o = {.at = ret, .size = size};
	struct word line, names = {};
	struct stats_delta d = {};
	uint64_t n;

	if (file == STATS_SNMP || file == STATS_SNMP6) {
		if (!source->all(source->arg, &d))
			file = STATS_NONE;
	} else if (file == STATS_DEV_SNMP6) {
		if (!device_of(text, len, source, &d))
			file = STATS_NONE;
	}
	while (next_line(&text, &len, &line)) {
		switch (file) {
		case STATS_DEV:
			dev_line(&o, line, source);
			break;
		case STATS_SNMP:
			if (!begins(line, "Ip: ") && !begins(line, "IpExt: ")) {
				put(&o, line.at, line.len);
			} else if (names.len) {
				values_line(&o, names, line, &d.ip4);
				names.len = 0;
			} else {
				names = line;
				put(&o, line.at, line.len);
			}
			break;
		case STATS_SNMP6:
		case STATS_DEV_SNMP6:
			snmp6_line(&o, line, &d.ip6);
			break;
		case STATS_SYSFS:
			if (number(&line, &n))
				print(&o, "%" PRIu64, n + sysfs_delta(counter, source));
			else
				put(&o, line.at, line.len);
			break;
		case STATS_NONE:
			put(&o, line.at, line.len);
			break;
		}
		if (line.at + line.len < text)
			put(&o, "\n", 1);
	}
	return o.full ? -1 : (int64_t)o.len;
}

static const char *ends(const char *path, const char *end)
{
	size_t len = strlen(path), tail = strlen(end);

	return len > tail && !strcmp(path + len - tail, end) ? path + len - tail : NULL;
}

enum stats_file stats_file_of(const char *path, size_t *ret_part)
{
	static const struct {
		const char *end;
		enum stats_file file;
	} files[] = {
		{"/net/dev", STATS_DEV},
		{"/net/snmp", STATS_SNMP},
		{"/net/netstat", STATS_SNMP},
		{"/net/snmp6", STATS_SNMP6},
	};
	const char *at, *name;

	if (!strncmp(path, "/proc/", 6)) {
		for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
			at = ends(path, files[i].end);
			if (at) {
				*ret_part = (size_t)(at - path);
				return files[i].file;
			}
		}
		at = strstr(path, "/net/dev_snmp6/");
		if (at && !strchr(at + 15, '/')) {
			*ret_part = (size_t)(at - path);
			return STATS_DEV_SNMP6;
		}
		return STATS_NONE;
	}
	if (strncmp(path, "/sys/devices/", 13) != 0)
		return STATS_NONE;
	name = strstr(path, "/net/");
	at = strstr(path, "/statistics/");
	if (!name || !at || at < name + 5 || memchr(name + 5, '/', (size_t)(at - name - 5)) ||
	    strchr(at + 12, '/'))
		return STATS_NONE;
	*ret_part = (size_t)(name + 5 - path);
	return STATS_SYSFS;
}
