// SPDX-License-Identifier: BSD-3-Clause
/* Linux's answers with the fast path's counters added, in place or as text. Pure functions over any bytes: what isn't
 * understood stays as it was. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "stats/counters.h"

struct rtnl_link_stats;

/* Where the numbers come from. Each returns false where there's nothing to add. */
struct stats_source {
	bool (*iface)(void *arg, uint32_t ifindex, struct stats_delta *ret);
	bool (*name)(void *arg, const char *name, struct stats_delta *ret);
	bool (*all)(void *arg, struct stats_delta *ret);
	void *arg;
	/* Major and minor version of the kernel, as 6 << 8 | 12; 0: unknown, then IFLA_INET6_STATS stays as it is: its order isn't
	 * the same in all */
	unsigned version;
};

/* Whether @len bytes from a route netlink socket may hold counters: a look at the first message's type. */
bool rewrite_wanted(const void *data, size_t len);

/* RTM_NEWLINK (IFLA_STATS, IFLA_STATS64, IFLA_INET6_STATS) and RTM_NEWSTATS (IFLA_STATS_LINK_64): @data, 4-byte aligned, is
 * what a socket of NETLINK_ROUTE gave, all of its @len bytes or the beginning. */
void rewrite_netlink(void *data, size_t len, const struct stats_source *source);

/* One struct rtnl_link_stats, as getifaddrs gives it. */
void rewrite_link_stats(struct rtnl_link_stats *stats, const struct stats_delta *delta);

enum stats_file {
	STATS_NONE,
	STATS_DEV,	 /* /proc/net/dev */
	STATS_SNMP,	 /* /proc/net/snmp, /proc/net/netstat */
	STATS_SNMP6,	 /* /proc/net/snmp6 */
	STATS_DEV_SNMP6, /* /proc/net/dev_snmp6/NAME */
	STATS_SYSFS,	 /* /sys/class/net/NAME/statistics/COUNTER */
};

/* What the file at this canonical path is (as /proc/self/fd/N leads to it). @ret_part: of STATS_SYSFS, where NAME/statistics/
 * COUNTER begins; of the files in /proc how long the part is that names the process. */
enum stats_file stats_file_of(const char *path, size_t *ret_part);

/* The file's @len bytes of @text, rewritten to @ret of @size bytes: how many, or -1 if it doesn't fit. @counter: of
 * STATS_SYSFS, "NAME/statistics/COUNTER". */
int64_t rewrite_text(enum stats_file file, const char *counter, const char *text, size_t len,
		     char *ret, size_t size, const struct stats_source *source);
