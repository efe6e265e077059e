// SPDX-License-Identifier: BSD-3-Clause
/* Linux's answers with the fast path's counters added. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include "stats/rewrite.h"

#define VERSION (6 << 8 | 12)

static const struct stats_delta delta = {
	.rx_packets = 1000,
	.rx_bytes = 5000000000,
	.rx_dropped = 3,
	.rx_missed = 4,
	.rx_otherhost = 5,
	.tx_packets = (uint64_t)-2, /* the port lost what Linux has counted as sent */
	.tx_bytes = 70,
	.tx_dropped = 2,
	.ip4 = {.in_bytes = 100, .in_ecn = {1, 2, 3, 4}, .out_forwarded = 9, .out_packets = 8},
	.ip6 = {.in_bytes = 200, .in_ecn = {5, 6, 7, 8}, .out_forwarded = 20, .out_packets = 21},
};

static bool iface(void *arg, uint32_t ifindex, struct stats_delta *ret)
{
	*ret = delta;
	return ifindex == 7;
}

static bool name(void *arg, const char *name, struct stats_delta *ret)
{
	*ret = delta;
	return !strcmp(name, "p1");
}

static bool all(void *arg, struct stats_delta *ret)
{
	*ret = delta;
	return true;
}

static const struct stats_source source = {iface, name, all, NULL, VERSION};
static const struct stats_source nothing = {iface, name, all, NULL, 0};

/* --- netlink */

struct message {
	_Alignas(8) uint8_t data[4096];
	size_t len;
};

/* Attributes lie on 4 bytes. */
static uint64_t word(const uint64_t *at, unsigned index)
{
	uint64_t value;

	memcpy(&value, (const char *)at + index * sizeof(value), sizeof(value));
	return value;
}

static struct nlmsghdr *begin(struct message *m, uint16_t type, size_t head)
{
	struct nlmsghdr *h = (struct nlmsghdr *)(void *)(m->data + m->len);

	*h = (struct nlmsghdr){.nlmsg_type = type, .nlmsg_len = (uint32_t)(sizeof(*h) + head)};
	memset(h + 1, 0, head);
	return h;
}

static void *attr(struct nlmsghdr *h, uint16_t type, size_t len)
{
	struct nlattr *a = (struct nlattr *)(void *)((char *)h + NLMSG_ALIGN(h->nlmsg_len));

	*a = (struct nlattr){.nla_type = type, .nla_len = (uint16_t)(sizeof(*a) + len)};
	memset(a + 1, 0, len);
	h->nlmsg_len = (uint32_t)(NLMSG_ALIGN(h->nlmsg_len) + NLMSG_ALIGN(a->nla_len));
	return a + 1;
}

static void end(struct message *m, const struct nlmsghdr *h)
{
	m->len += NLMSG_ALIGN(h->nlmsg_len);
}

static uint64_t *add_link(struct message *m, int ifindex, uint32_t **ret32)
{
	struct nlmsghdr *h = begin(m, RTM_NEWLINK, sizeof(struct ifinfomsg));
	uint64_t *stats;

	((struct ifinfomsg *)NLMSG_DATA(h))->ifi_index = ifindex;
	memcpy(attr(h, IFLA_IFNAME, 3), "p1", 3);
	*ret32 = attr(h, IFLA_STATS, sizeof(struct rtnl_link_stats));
	stats = attr(h, IFLA_STATS64, sizeof(struct rtnl_link_stats64));
	memcpy(stats, (const uint64_t[]){5, 10}, 16);
	end(m, h);
	return stats;
}

static void test_all_links_of_a_dump_get_theirs(void **state)
{
	struct message m = {};
	uint32_t *old, *other_old;
	uint64_t *other = add_link(&m, 6, &other_old), *mine = add_link(&m, 7, &old);
	struct nlmsghdr *done = begin(&m, NLMSG_DONE, 4);

	end(&m, done);
	assert_true(rewrite_wanted(m.data, m.len));
	rewrite_netlink(m.data, m.len, &source);
	assert_int_equal(word(other, 0), 5);
	assert_int_equal(word(mine, 0), 1005);
	assert_int_equal(word(mine, 1), 8);
	assert_int_equal(word(mine, 2), 5000000000);
	assert_int_equal(word(mine, 3), 70);
	assert_int_equal(word(mine, 6), 3);
	assert_int_equal(word(mine, 15), 4);
	assert_int_equal(word(mine, 24), 5);
	/* The old ones wrap at 32 bits, as the kernel's do. */
	assert_int_equal(old[2], (uint32_t)5000000000);
	assert_int_equal(other_old[2], 0);
}

static void test_a_link_of_another_namespace_stays(void **state)
{
	struct message m = {};
	struct nlmsghdr *h = begin(&m, RTM_NEWLINK, sizeof(struct ifinfomsg));
	uint64_t *stats;

	((struct ifinfomsg *)NLMSG_DATA(h))->ifi_index = 7;
	stats = attr(h, IFLA_STATS64, sizeof(struct rtnl_link_stats64));
	attr(h, IFLA_TARGET_NETNSID, 4);
	end(&m, h);
	rewrite_netlink(m.data, m.len, &source);
	assert_int_equal(word(stats, 0), 0);
}

static void test_a_short_struct_gets_what_fits(void **state)
{
	struct message m = {};
	struct nlmsghdr *h = begin(&m, RTM_NEWLINK, sizeof(struct ifinfomsg));
	uint64_t *stats;
	uint8_t *after;

	((struct ifinfomsg *)NLMSG_DATA(h))->ifi_index = 7;
	stats = attr(h, IFLA_STATS64, 12);
	after = attr(h, IFLA_IFNAME, 64);
	end(&m, h);
	rewrite_netlink(m.data, m.len, &source);
	assert_int_equal(word(stats, 0), 1000);
	assert_int_equal((uint32_t)word(stats, 1), 0);
	for (unsigned i = 0; i < 64; i++)
		assert_int_equal(after[i], 0);
}

static void test_new_stats_get_theirs(void **state)
{
	struct message m = {};
	struct nlmsghdr *h = begin(&m, RTM_NEWSTATS, sizeof(struct if_stats_msg));
	uint64_t *stats;

	((struct if_stats_msg *)NLMSG_DATA(h))->ifindex = 7;
	stats = attr(h, IFLA_STATS_LINK_64, sizeof(struct rtnl_link_stats64));
	end(&m, h);
	assert_true(rewrite_wanted(m.data, m.len));
	rewrite_netlink(m.data, m.len, &source);
	assert_int_equal(word(stats, 0), 1000);
}

/* IFLA_AF_SPEC, AF_INET6, IFLA_INET6_STATS in a message of interface 7. */
static uint64_t *add_inet6(struct message *m)
{
	struct nlmsghdr *h = begin(m, RTM_NEWLINK, sizeof(struct ifinfomsg));
	size_t words = 38 * sizeof(uint64_t);
	struct nlattr *nested;
	uint64_t *stats;

	((struct ifinfomsg *)NLMSG_DATA(h))->ifi_index = 7;
	nested = attr(h, IFLA_AF_SPEC, 8 + words);
	nested[0] = (struct nlattr){(uint16_t)(8 + words), AF_INET6};
	nested[1] = (struct nlattr){(uint16_t)(4 + words), IFLA_INET6_STATS};
	stats = (uint64_t *)(void *)&nested[2];
	end(m, h);
	return stats;
}

static void test_ipv6_counters_stand_where_the_kernel_has_them(void **state)
{
	struct stats_source newer = source;
	struct message m = {};
	uint64_t *stats = add_inet6(&m);

	rewrite_netlink(m.data, m.len, &nothing);
	for (unsigned i = 0; i < 38; i++)
		assert_int_equal(word(stats, i), 0);
	rewrite_netlink(m.data, m.len, &source);
	assert_int_equal(word(stats, 1), 26);
	assert_int_equal(word(stats, 2), 200);
	assert_int_equal(word(stats, 4), 20);
	assert_int_equal(word(stats, 35), 8);
	assert_int_equal(word(stats, 37), 21);
	m = (struct message){};
	stats = add_inet6(&m);
	newer.version = 6 << 8 | 15;
	rewrite_netlink(m.data, m.len, &newer);
	assert_int_equal(word(stats, 7), 8);
	assert_int_equal(word(stats, 9), 21);
	assert_int_equal(word(stats, 11), 20);
}

static void test_other_messages_are_not_looked_at(void **state)
{
	struct nlmsghdr head = {.nlmsg_len = 16, .nlmsg_type = RTM_NEWROUTE};

	assert_false(rewrite_wanted(&head, sizeof(head)));
	head.nlmsg_type = RTM_NEWLINK;
	assert_true(rewrite_wanted(&head, sizeof(head)));
	assert_false(rewrite_wanted(&head, sizeof(head) - 1));
}

/* --- text */

static void expect(enum stats_file file, const char *counter, const char *text, const char *wanted)
{
	char out[2048];
	int64_t n = rewrite_text(file, counter, text, strlen(text), out, sizeof(out), &source);

	assert_in_range(n, 0, sizeof(out) - 1);
	out[n] = '\0';
	assert_string_equal(out, wanted);
}

static void test_proc_net_dev(void **state)
{
	expect(STATS_DEV, "",
	       "Inter-|   Receive\n face |bytes    packets\n"
	       "    lo:     100       1    0    0    0     0          0         0      100       1"
	       "    0    0    0     0       0          0\n"
	       "    p1:     100       1    0    0    0     0          0         0      100       5"
	       "    0    0    0     0       0          0\n"
	       "odd: 1 2 3\n",
	       "Inter-|   Receive\n face |bytes    packets\n"
	       "    lo:     100       1    0    0    0     0          0         0      100       1"
	       "    0    0    0     0       0          0\n"
	       "    p1: 5000000100    1001    0    7    0     0          0         0      170"
	       "       3    0    2    0     0       0          0\n"
	       "odd: 1 2 3\n");
}

static void test_proc_net_snmp(void **state)
{
	expect(STATS_SNMP, "",
	       "Ip: Forwarding InReceives ForwDatagrams New OutTransmits\nIp: 1 10 20 7 30\n"
	       "Icmp: InReceives\nIcmp: 10\n",
	       "Ip: Forwarding InReceives ForwDatagrams New OutTransmits\nIp: 1 20 29 7 38\n"
	       "Icmp: InReceives\nIcmp: 10\n");
	expect(STATS_SNMP, "",
	       "TcpExt: InOctets\nTcpExt: 1\nIpExt: InOctets InCEPkts\nIpExt: 1 2\n",
	       "TcpExt: InOctets\nTcpExt: 1\nIpExt: InOctets InCEPkts\nIpExt: 101 6\n");
	/* More values than names, and no end of line */
	expect(STATS_SNMP, "", "Ip: InReceives\nIp: 1 2", "Ip: InReceives\nIp: 11 2");
}

static void test_proc_net_snmp6(void **state)
{
	expect(STATS_SNMP6, "",
	       "Ip6InReceives                   \t1\nIcmp6InMsgs\t2\nIp6InDelivers\t3\n",
	       "Ip6InReceives                   \t27\nIcmp6InMsgs\t2\nIp6InDelivers\t3\n");
	expect(STATS_DEV_SNMP6, "", "ifIndex                         \t7\nIp6OutTransmits\t1\n",
	       "ifIndex                         \t7\nIp6OutTransmits\t22\n");
	expect(STATS_DEV_SNMP6, "", "ifIndex\t6\nIp6OutTransmits\t1\n",
	       "ifIndex\t6\nIp6OutTransmits\t1\n");
}

static void test_sysfs(void **state)
{
	expect(STATS_SYSFS, "p1/statistics/rx_packets", "5\n", "1005\n");
	expect(STATS_SYSFS, "p1/statistics/multicast", "5\n", "5\n");
	expect(STATS_SYSFS, "p2/statistics/rx_packets", "5\n", "5\n");
	expect(STATS_SYSFS, "p1", "5\n", "5\n");
}

static void test_what_does_not_fit_is_refused(void **state)
{
	char out[3];

	assert_int_equal(rewrite_text(STATS_SYSFS, "p1/statistics/rx_packets", "5\n", 2, out,
				      sizeof(out), &source),
			 -1);
}

static void test_paths(void **state)
{
	static const struct {
		const char *path;
		enum stats_file file;
		size_t part;
	} all_[] = {
		{"/proc/12/net/dev", STATS_DEV, 8},
		{"/proc/12/task/13/net/snmp", STATS_SNMP, 16},
		{"/proc/12/net/netstat", STATS_SNMP, 8},
		{"/proc/12/net/snmp6", STATS_SNMP6, 8},
		{"/proc/12/net/dev_snmp6/p1", STATS_DEV_SNMP6, 8},
		{"/sys/devices/virtual/net/p1/statistics/rx_bytes", STATS_SYSFS, 25},
		{"/sys/devices/pci0/0000:00:03.0/net/e0/statistics/x", STATS_SYSFS, 35},
	};
	static const char *const none[] = {
		"/proc/12/net/tcp",
		"/proc/12/net/dev_mcast",
		"/proc/12/net/stat/dev",
		"/sys/devices/virtual/net/p1/mtu",
		"/sys/devices/statistics/net/x",
		"/etc/net/dev",
		"/sys/devices/virtual/net/p1/a/statistics/rx_bytes",
		"dev",
		"",
	};
	size_t part;

	for (size_t i = 0; i < sizeof(all_) / sizeof(all_[0]); i++) {
		assert_int_equal(stats_file_of(all_[i].path, &part), all_[i].file);
		assert_int_equal(part, all_[i].part);
	}
	for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++)
		assert_int_equal(stats_file_of(none[i], &part), STATS_NONE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_all_links_of_a_dump_get_theirs),
		cmocka_unit_test(test_a_link_of_another_namespace_stays),
		cmocka_unit_test(test_a_short_struct_gets_what_fits),
		cmocka_unit_test(test_new_stats_get_theirs),
		cmocka_unit_test(test_ipv6_counters_stand_where_the_kernel_has_them),
		cmocka_unit_test(test_other_messages_are_not_looked_at),
		cmocka_unit_test(test_proc_net_dev),
		cmocka_unit_test(test_proc_net_snmp),
		cmocka_unit_test(test_proc_net_snmp6),
		cmocka_unit_test(test_sysfs),
		cmocka_unit_test(test_what_does_not_fit_is_refused),
		cmocka_unit_test(test_paths),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
