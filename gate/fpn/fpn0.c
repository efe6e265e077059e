// SPDX-License-Identifier: BSD-3-Clause
#include "fpn/fpn0.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/virtio_net.h>
#include <linux/xfrm.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bpf/fptun/fptun.h"
#include "fpn/fpvi.h"

static const _Alignas(8) unsigned char object[] = {
#include "fptun_bytes.h"
};

#define NAME "fpn%d"

/* --- the program --- */

int fpn0_program(int *ret_counts)
{
	static struct bpf_object *loaded;
	LIBBPF_OPTS(bpf_object_open_opts, options, .object_name = "fptun");
	struct bpf_object *o = loaded;
	libbpf_print_fn_t print;
	int rc = 0;

	if (!loaded) {
		/* What libbpf says is for whoever writes programs. */
		print = libbpf_set_print(NULL);
		o = bpf_object__open_mem(object, sizeof(object), &options);
		rc = o ? bpf_object__load(o) : -errno;
		libbpf_set_print(print);
		if (rc) {
			bpf_object__close(o);
			return rc;
		}
		loaded = o;
	}
	if (ret_counts)
		*ret_counts = bpf_object__find_map_fd_by_name(o, ".bss");
	return bpf_program__fd(bpf_object__find_program_by_name(o, "fptun"));
}

/* --- policies --- */

struct request {
	struct nlmsghdr head;
	union {
		struct xfrm_userpolicy_info info;
		struct xfrm_userpolicy_id id;
	};
};

/* A request about the policy of our mark; what follows the fixed part is its mark. */
static int ask_xfrm(int fd, uint16_t type, uint8_t dir, uint16_t family)
{
	const struct xfrm_mark mark = {.v = FPTUN_MARK, .m = FPTUN_MARK_MASK};
	uint8_t buffer[NLMSG_LENGTH(sizeof(struct xfrm_userpolicy_info)) + 64] = {};
	struct request *request = (struct request *)buffer;
	struct nlattr *attr;
	struct {
		struct nlmsghdr head;
		struct nlmsgerr error;
		char more[512];
	} answer;
	size_t fixed;

	if (type == XFRM_MSG_NEWPOLICY) {
		fixed = sizeof(request->info);
		request->info.sel.family = family;
		request->info.lft =
			(struct xfrm_lifetime_cfg){XFRM_INF, XFRM_INF, XFRM_INF, XFRM_INF};
		request->info.dir = dir;
		request->info.action = XFRM_POLICY_ALLOW;
		request->info.share = XFRM_SHARE_ANY;
	} else {
		fixed = sizeof(request->id);
		request->id.sel.family = family;
		request->id.dir = dir;
	}
	attr = (struct nlattr *)(buffer + NLMSG_SPACE(fixed));
	*attr = (struct nlattr){.nla_len = NLA_HDRLEN + sizeof(mark), .nla_type = XFRMA_MARK};
	memcpy((char *)attr + NLA_HDRLEN, &mark, sizeof(mark));
	request->head = (struct nlmsghdr){
		.nlmsg_len = (uint32_t)(NLMSG_SPACE(fixed) + NLA_ALIGN(attr->nla_len)),
		.nlmsg_type = type,
		.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK,
	};
	if (send(fd, buffer, request->head.nlmsg_len, 0) < 0 ||
	    recv(fd, &answer, sizeof(answer), 0) < (ssize_t)sizeof(answer.head) + 4)
		return -errno;
	return answer.error.error;
}

/* In the thread's namespace. A kernel without XFRM, or without IPv6, checks nothing there. */
static int policies(uint16_t type, struct err *err)
{
	static const uint8_t dirs[] = {XFRM_POLICY_IN, XFRM_POLICY_FWD};
	static const uint16_t families[] = {AF_INET, AF_INET6};
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_XFRM);
	int rc = 0;

	if (fd < 0)
		return errno == EPROTONOSUPPORT
			       ? 0
			       : err_set(err, errno, "no socket for XFRM: %s", strerror(errno));
	for (unsigned i = 0; i < 4 && !rc; i++) {
		rc = ask_xfrm(fd, type, dirs[i & 1], families[i >> 1]);
		if (rc == -EEXIST || rc == -ENOENT || rc == -EAFNOSUPPORT)
			rc = 0;
	}
	close(fd);
	return rc ? err_set(err, -rc, "Linux takes no XFRM policy of ours: %s", strerror(-rc)) : 0;
}

/* --- the device --- */

/* Moves the device to the namespace behind @netns, where it's called as one made there would be. */
static int move(const struct fpn0 *fpn0, int netns)
{
	struct {
		struct nlmsghdr head;
		struct ifinfomsg info;
		struct rtattr fd_attr;
		int fd;
		struct rtattr name_attr;
		char name[8];
	} request = {
		.head = {.nlmsg_len = sizeof(request),
			 .nlmsg_type = RTM_NEWLINK,
			 .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK},
		.info = {.ifi_index = (int)fpn0->ifindex},
		.fd_attr = {.rta_len = RTA_LENGTH(sizeof(int)), .rta_type = IFLA_NET_NS_FD},
		.fd = netns,
		.name_attr = {.rta_len = RTA_LENGTH(8), .rta_type = IFLA_IFNAME},
		.name = NAME,
	};
	struct {
		struct nlmsghdr head;
		struct nlmsgerr error;
		char more[512];
	} answer = {};
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	int rc = 0;

	if (fd < 0)
		return -errno;
	if (send(fd, &request, sizeof(request), 0) < 0 || recv(fd, &answer, sizeof(answer), 0) < 0)
		rc = -errno;
	close(fd);
	return rc ? rc : answer.error.error;
}

/* In this process's own namespace: a queue that is opened elsewhere would keep that namespace alive. */
static int make(struct fpn0 *fpn0)
{
	struct ifreq ifr = {.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR};
	int header = sizeof(struct virtio_net_hdr);

	fpn0->fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (fpn0->fd < 0)
		return -errno;
	memcpy(ifr.ifr_name, NAME, sizeof(NAME));
	if (ioctl(fpn0->fd, TUNSETIFF, &ifr) || ioctl(fpn0->fd, TUNSETVNETHDRSZ, &header))
		return -errno;
	memcpy(fpn0->name, ifr.ifr_name, sizeof(fpn0->name));
	fpn0->ifindex = if_nametoindex(fpn0->name);
	return fpn0->ifindex ? 0 : -errno;
}

/* Takes it there and leaves the thread there. */
static int follow(struct fpn0 *fpn0)
{
	struct ifreq ifr = {};
	int here, rc;

	if (!fpn0->netns)
		return 0;
	rc = fpvi_enter_netns(fpn0->netns);
	if (rc)
		return rc;
	here = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	fpvi_leave_netns(fpn0->netns);
	rc = here < 0 ? -errno : move(fpn0, here);
	if (here >= 0)
		close(here);
	if (!rc)
		rc = fpvi_enter_netns(fpn0->netns);
	if (rc)
		return rc;
	if (ioctl(fpn0->fd, TUNGETIFF, &ifr)) {
		rc = -errno;
		fpvi_leave_netns(fpn0->netns);
		return rc;
	}
	memcpy(fpn0->name, ifr.ifr_name, sizeof(fpn0->name));
	fpn0->ifindex = if_nametoindex(fpn0->name);
	return 0;
}

/* Where there's no IPv6 there's no such file. */
static void without_ipv6(const struct fpn0 *fpn0)
{
	char path[80];
	int fd;

	snprintf(path, sizeof(path), "/proc/sys/net/ipv6/conf/%s/disable_ipv6", fpn0->name);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	if (write(fd, "1", 1) != 1)
		errno = 0; /* it gets a link-local address then, which harms nobody */
	close(fd);
}

static int bring_up(const struct fpn0 *fpn0)
{
	struct ifreq ifr = {};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int rc;

	if (fd < 0)
		return -errno;
	memcpy(ifr.ifr_name, fpn0->name, sizeof(ifr.ifr_name));
	rc = ioctl(fd, SIOCGIFFLAGS, &ifr) ? -errno : 0;
	ifr.ifr_flags |= IFF_UP | IFF_NOARP;
	ifr.ifr_flags &= ~IFF_MULTICAST;
	if (!rc)
		rc = ioctl(fd, SIOCSIFFLAGS, &ifr) ? -errno : 0;
	close(fd);
	return rc;
}

/* In its namespace. */
static int set_up(struct fpn0 *fpn0, int program, struct err *err)
{
	int rc;

	without_ipv6(fpn0);
	fpn0->link = bpf_link_create(program, (int)fpn0->ifindex, BPF_TCX_INGRESS, NULL);
	if (fpn0->link < 0)
		return err_set(err, errno, "Linux takes no eBPF program on %s: %s", fpn0->name,
			       strerror(errno));
	rc = policies(XFRM_MSG_NEWPOLICY, err);
	if (rc)
		return rc;
	rc = bring_up(fpn0);
	return rc ? err_set(err, -rc, "can't bring %s up: %s", fpn0->name, strerror(-rc)) : 0;
}

int fpn0_open(struct fpn0 *ret, uint64_t netns, struct err *err)
{
	struct fpn0 fpn0 = {.fd = -1, .link = -1, .netns = netns};
	int program = fpn0_program(NULL);
	int rc;

	if (program < 0) {
		err_set(err, -program, "Linux takes no eBPF program: %s", strerror(-program));
		return err_hint(err, "it takes Linux 6.6 and the capability CAP_BPF");
	}
	rc = make(&fpn0);
	if (!rc)
		rc = follow(&fpn0);
	if (rc) {
		err_set(err, -rc, "can't make fpn0: %s", strerror(-rc));
	} else {
		rc = set_up(&fpn0, program, err);
		fpvi_leave_netns(netns);
	}
	if (!rc) {
		*ret = fpn0;
		return 0;
	}
	if (fpn0.link >= 0)
		close(fpn0.link);
	if (fpn0.fd >= 0)
		close(fpn0.fd);
	return rc;
}

bool fpn0_alive(const struct fpn0 *fpn0)
{
	struct ifreq ifr;

	return !ioctl(fpn0->fd, TUNGETIFF, &ifr);
}

void fpn0_repair(const struct fpn0 *fpn0)
{
	struct err err;

	if (fpvi_enter_netns(fpn0->netns))
		return;
	policies(XFRM_MSG_NEWPOLICY, &err);
	fpvi_leave_netns(fpn0->netns);
}

void fpn0_close(struct fpn0 *fpn0)
{
	struct err err;

	if (fpn0->link >= 0)
		close(fpn0->link);
	fpn0->link = -1;
	if (fpvi_enter_netns(fpn0->netns))
		return;
	policies(XFRM_MSG_DELPOLICY, &err);
	fpvi_leave_netns(fpn0->netns);
}
