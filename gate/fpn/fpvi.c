// SPDX-License-Identifier: BSD-3-Clause
#include "fpn/fpvi.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/virtio_net.h>
#include <net/if_arp.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define NAMESPACES "/run/netns"

/* This thread's namespace as the process found it; opened once, never closed. */
static int home(void)
{
	static int fd = -1;

	if (fd < 0)
		fd = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	return fd;
}

/* A socket for questions to the namespace that the thread is in; -errno. */
static int question(void)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	return fd < 0 ? -errno : fd;
}

static uint64_t cookie(int fd)
{
	uint64_t ret = 0;
	socklen_t len = sizeof(ret);

	return getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, &ret, &len) ? 0 : ret;
}

static uint64_t home_cookie(void)
{
	static uint64_t ret;
	int fd = ret ? -1 : question();

	if (fd >= 0) {
		ret = cookie(fd);
		close(fd);
	}
	return ret;
}

static int go(int netns)
{
	return setns(netns, CLONE_NEWNET) ? -errno : 0;
}

/* A process whose thread is lost in another namespace would do harm there. */
static void go_home(void)
{
	if (go(home()))
		abort();
}

static int link_ioctl(int fd, const char *name, unsigned long request, struct ifreq *ifr)
{
	memset(ifr->ifr_name, 0, sizeof(ifr->ifr_name));
	snprintf(ifr->ifr_name, sizeof(ifr->ifr_name), "%s", name);
	return ioctl(fd, request, ifr) ? -errno : 0;
}

#ifndef IFF_NO_CARRIER
#define IFF_NO_CARRIER 0x0040 /* Linux 6.2; older ones ignore it */
#endif

/* TUNSETIFF must repeat whether an existing TAP has several queues. Ours have one, but someone else may have made it. The
 * carrier comes on when packets flow, so that Linux sends none before. */
static int attach(int fd, const char *name)
{
	struct ifreq ifr = {};
	short flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | IFF_NO_CARRIER;

	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", name);
	ifr.ifr_flags = flags;
	if (!ioctl(fd, TUNSETIFF, &ifr))
		return 0;
	if (errno != EINVAL)
		return -errno;
	ifr.ifr_flags = (short)(flags | IFF_MULTI_QUEUE);
	return ioctl(fd, TUNSETIFF, &ifr) ? -errno : 0;
}

static int explain_attach(int code, const char *name, struct err *err)
{
	switch (code) {
	case EBUSY:
		err_set(err, code, "port %s: another process holds the TAP of that name", name);
		return err_hint(err, "`ip -details tuntap show` tells which");
	case EINVAL:
		err_set(err, code, "port %s: Linux has another interface of that name", name);
		return err_hint(err, "name the port differently in FP_PORTS: NAME=DEVICE");
	case EPERM:
		err_set(err, code, "port %s: not allowed to make a TAP", name);
		return err_hint(err, "run as root, or with CAP_NET_ADMIN");
	default:
		return err_set(err, code, "port %s: can't make the TAP: %s", name, strerror(code));
	}
}

static int set_up(struct fpvi *tap, const uint8_t mac[6], unsigned mtu, struct err *err)
{
	int header = sizeof(struct virtio_net_hdr);
	struct ifreq ifr = {};
	int fd, rc;

	if (ioctl(tap->fd, TUNSETPERSIST, 1) || ioctl(tap->fd, TUNSETVNETHDRSZ, &header) ||
	    ioctl(tap->fd, TUNSETOFFLOAD, TUN_F_CSUM))
		return err_set(err, errno, "port %s: can't set up the TAP: %s", tap->name,
			       strerror(errno));
	if (!tap->is_new)
		return 0;
	fd = question();
	ifr.ifr_hwaddr.sa_family = ARPHRD_ETHER;
	memcpy(ifr.ifr_hwaddr.sa_data, mac, 6);
	/* A virtual device without an address of its own: the TAP keeps the one Linux made up. */
	rc = memcmp(mac, (uint8_t[6]){}, 6) ? link_ioctl(fd, tap->name, SIOCSIFHWADDR, &ifr) : 0;
	if (!rc) {
		ifr.ifr_mtu = (int)mtu;
		rc = link_ioctl(fd, tap->name, SIOCSIFMTU, &ifr);
	}
	if (fd >= 0)
		close(fd);
	return rc ? err_set(err, -rc, "port %s: can't set MAC and MTU of the TAP: %s", tap->name,
			    strerror(-rc))
		  : 0;
}

/* Whether the thread's namespace is @place's and has the TAP; its name in @ret. */
static bool is_there(const struct fpvi_place *place, char ret[IFNAMSIZ])
{
	struct ifreq ifr = {.ifr_ifindex = (int)place->ifindex};
	int fd = question();
	bool found = fd >= 0 && cookie(fd) == place->netns && !ioctl(fd, SIOCGIFNAME, &ifr);

	if (found)
		memcpy(ret, ifr.ifr_name, IFNAMSIZ);
	found = found && !link_ioctl(fd, ret, SIOCGIFHWADDR, &ifr) &&
		!memcmp(ifr.ifr_hwaddr.sa_data, place->mac, 6);
	if (fd >= 0)
		close(fd);
	return found;
}

/* Leaves the thread in the namespace of @place, if it and the TAP are still there: true. */
static bool go_back_to(const struct fpvi_place *place, char ret_name[IFNAMSIZ])
{
	DIR *dir = place->netns && home() >= 0 ? opendir(NAMESPACES) : NULL;
	const struct dirent *entry;
	bool found = false;

	while (dir && !found && (entry = readdir(dir))) {
		int fd = openat(dirfd(dir), entry->d_name, O_RDONLY | O_CLOEXEC);

		if (fd >= 0 && !go(fd)) {
			found = is_there(place, ret_name);
			if (!found)
				go_home();
		}
		if (fd >= 0)
			close(fd);
	}
	if (dir)
		closedir(dir);
	return found;
}

/* In the thread's namespace. */
static int open_here(struct fpvi *ret, const char *name, const uint8_t mac[6], unsigned mtu,
		     struct err *err)
{
	struct fpvi tap = {.fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC),
			   .vhost_fd = -1};
	int rc;

	snprintf(tap.name, sizeof(tap.name), "%s", name);
	if (tap.fd < 0) {
		err_set(err, errno, "can't open /dev/net/tun: %s", strerror(errno));
		return err_hint(err, "`modprobe tun`; in a container, hand the device in");
	}
	tap.is_new = !if_nametoindex(name);
	rc = attach(tap.fd, name);
	if (rc) {
		close(tap.fd);
		return explain_attach(-rc, name, err);
	}
	tap.ifindex = if_nametoindex(name);
	rc = set_up(&tap, mac, mtu, err);
	if (rc) {
		fpvi_remove(&tap);
		return rc;
	}
	*ret = tap;
	return 0;
}

int fpvi_open(struct fpvi *ret, const char *name, const uint8_t mac[6], unsigned mtu,
	      const struct fpvi_place *before, struct err *err)
{
	char there[IFNAMSIZ];
	int rc;

	if (!go_back_to(before, there))
		return open_here(ret, name, mac, mtu, err);
	rc = open_here(ret, there, mac, mtu, err);
	go_home();
	if (!rc)
		ret->netns = before->netns;
	return rc;
}

void fpvi_release(struct fpvi *tap)
{
	close(tap->fd);
	tap->fd = -1;
}

void fpvi_remove(struct fpvi *tap)
{
	if (tap->is_new) {
		if (tap->fd < 0) {
			tap->fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
			if (tap->fd >= 0)
				attach(tap->fd, tap->name);
		}
		if (tap->fd >= 0)
			ioctl(tap->fd, TUNSETPERSIST, 0);
	}
	fpvi_close(tap);
}

void fpvi_close(struct fpvi *tap)
{
	if (tap->fd >= 0)
		close(tap->fd);
	tap->fd = -1;
}

/* A file descriptor that belongs to the TAP, for questions. */
static int any_fd(const struct fpvi *tap)
{
	return tap->fd >= 0 ? tap->fd : tap->vhost_fd;
}

void fpvi_find_vhost(struct fpvi *tap)
{
	DIR *dir = opendir("/proc/self/fd");
	const struct dirent *entry;
	char target[32];

	while (dir && (entry = readdir(dir))) {
		struct ifreq ifr = {};
		ssize_t n = readlinkat(dirfd(dir), entry->d_name, target, sizeof(target) - 1);
		int fd = n > 0 ? (int)strtol(entry->d_name, NULL, 10) : -1;

		target[n > 0 ? n : 0] = '\0';
		if (!strcmp(target, "/dev/net/tun") && !ioctl(fd, TUNGETIFF, &ifr) &&
		    !strcmp(ifr.ifr_name, tap->name))
			tap->vhost_fd = fd;
	}
	if (dir)
		closedir(dir);
}

/* What the thread's namespace says of the device @name. */
static int ask(int fd, const char *name, unsigned *ret_ifindex, unsigned *ret_mtu,
	       uint8_t ret_mac[6])
{
	struct ifreq ifr = {};
	int rc = link_ioctl(fd, name, SIOCGIFINDEX, &ifr);

	if (rc)
		return rc;
	*ret_ifindex = (unsigned)ifr.ifr_ifindex;
	rc = link_ioctl(fd, name, SIOCGIFMTU, &ifr);
	if (rc)
		return rc;
	*ret_mtu = (unsigned)ifr.ifr_mtu;
	rc = link_ioctl(fd, name, SIOCGIFHWADDR, &ifr);
	if (rc)
		return rc;
	memcpy(ret_mac, ifr.ifr_hwaddr.sa_data, 6);
	return 0;
}

/* Makes the namespace of the device this thread's. -ENODEV: there's no device any more. */
static int go_to_device(const struct fpvi *tap)
{
	int netns = ioctl(any_fd(tap), TUNGETDEVNETNS);
	int rc;

	if (netns < 0)
		return errno == EBADFD || errno == EBADF ? -ENODEV : -errno;
	rc = home() < 0 ? -EBADF : go(netns);
	close(netns);
	return rc;
}

int fpvi_look(struct fpvi *tap, unsigned *ret_mtu, uint8_t ret_mac[6])
{
	static int here = -1;
	struct ifreq ifr = {};
	unsigned ifindex;
	int fd, rc;

	if (here < 0)
		here = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	/* Mostly it's where it was. */
	if (!tap->netns && !ask(here, tap->name, &ifindex, ret_mtu, ret_mac) &&
	    ifindex == tap->ifindex)
		return 0;
	rc = go_to_device(tap);
	if (rc) {
		tap->ifindex = 0;
		return rc;
	}
	fd = question();
	if (fd < 0) {
		rc = fd;
	} else if (ioctl(any_fd(tap), TUNGETIFF, &ifr)) {
		rc = -ENODEV;
	} else {
		rc = ask(fd, ifr.ifr_name, &ifindex, ret_mtu, ret_mac);
		tap->netns = cookie(fd);
	}
	if (fd >= 0)
		close(fd);
	go_home();
	if (!rc) {
		memcpy(tap->name, ifr.ifr_name, sizeof(tap->name));
		tap->netns = tap->netns == home_cookie() ? 0 : tap->netns;
	}
	tap->ifindex = rc ? 0 : ifindex;
	return rc;
}

int fpvi_enter(const struct fpvi *tap)
{
	return tap->netns ? go_to_device(tap) : 0;
}

void fpvi_leave(const struct fpvi *tap)
{
	if (tap->netns)
		go_home();
}

int fpvi_enter_netns(uint64_t netns)
{
	DIR *dir = netns && home() >= 0 ? opendir(NAMESPACES) : NULL;
	const struct dirent *entry;
	bool found = false;

	if (!netns)
		return 0;
	while (dir && !found && (entry = readdir(dir))) {
		int fd = openat(dirfd(dir), entry->d_name, O_RDONLY | O_CLOEXEC);

		if (fd >= 0 && !go(fd)) {
			int socket_fd = question();

			found = socket_fd >= 0 && cookie(socket_fd) == netns;
			if (socket_fd >= 0)
				close(socket_fd);
			if (!found)
				go_home();
		}
		if (fd >= 0)
			close(fd);
	}
	if (dir)
		closedir(dir);
	return found ? 0 : -ENODEV;
}

void fpvi_leave_netns(uint64_t netns)
{
	if (netns)
		go_home();
}

/* TUNSETCARRIER needs the queue, which vhost has in its hands; IFLA_CARRIER does the same without. */
int fpvi_set_carrier(const struct fpvi *tap, bool up)
{
	struct {
		struct nlmsghdr head;
		struct ifinfomsg info;
		struct rtattr attr;
		uint8_t carrier, pad[3];
	} request = {
		.head = {.nlmsg_len = sizeof(request),
			 .nlmsg_type = RTM_NEWLINK,
			 .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK},
		.info = {.ifi_index = (int)tap->ifindex},
		.attr = {.rta_len = RTA_LENGTH(1), .rta_type = IFLA_CARRIER},
		.carrier = up,
	};
	struct {
		struct nlmsghdr head;
		struct nlmsgerr error;
		char more[512];
	} answer = {};
	int fd, rc = fpvi_enter(tap);

	if (rc)
		return rc;
	fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	fpvi_leave(tap);
	if (fd < 0)
		return -errno;
	if (send(fd, &request, sizeof(request), 0) < 0 || recv(fd, &answer, sizeof(answer), 0) < 0)
		rc = -errno;
	else
		rc = answer.error.error;
	close(fd);
	return rc;
}
