// SPDX-License-Identifier: BSD-3-Clause
#include "fpn/fpvi.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/virtio_net.h>
#include <net/if_arp.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

/* One socket for all questions to Linux about interfaces; made once, never closed. */
static int control_socket(void)
{
	static int fd = -1;

	if (fd < 0)
		fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	return fd;
}

static int link_ioctl(const struct fpvi *tap, unsigned long request, struct ifreq *ifr)
{
	memcpy(ifr->ifr_name, tap->name, sizeof(ifr->ifr_name));
	return ioctl(control_socket(), request, ifr) ? -errno : 0;
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
	int rc;

	if (ioctl(tap->fd, TUNSETPERSIST, 1) || ioctl(tap->fd, TUNSETVNETHDRSZ, &header) ||
	    ioctl(tap->fd, TUNSETOFFLOAD, TUN_F_CSUM))
		return err_set(err, errno, "port %s: can't set up the TAP: %s", tap->name,
			       strerror(errno));
	if (!tap->is_new)
		return 0;
	ifr.ifr_hwaddr.sa_family = ARPHRD_ETHER;
	memcpy(ifr.ifr_hwaddr.sa_data, mac, 6);
	/* A virtual device without an address of its own: the TAP keeps the one Linux made up. */
	rc = memcmp(mac, (uint8_t[6]){}, 6) ? link_ioctl(tap, SIOCSIFHWADDR, &ifr) : 0;
	if (!rc) {
		ifr.ifr_mtu = (int)mtu;
		rc = link_ioctl(tap, SIOCSIFMTU, &ifr);
	}
	return rc ? err_set(err, -rc, "port %s: can't set MAC and MTU of the TAP: %s", tap->name,
			    strerror(-rc))
		  : 0;
}

int fpvi_open(struct fpvi *ret, const char *name, const uint8_t mac[6], unsigned mtu,
	      struct err *err)
{
	struct fpvi tap = {.fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC)};
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

int fpvi_get_mtu(const struct fpvi *tap, unsigned *ret)
{
	struct ifreq ifr = {};
	int rc = link_ioctl(tap, SIOCGIFMTU, &ifr);

	if (!rc)
		*ret = (unsigned)ifr.ifr_mtu;
	return rc;
}

int fpvi_get_mac(const struct fpvi *tap, uint8_t ret[6])
{
	struct ifreq ifr = {};
	int rc = link_ioctl(tap, SIOCGIFHWADDR, &ifr);

	if (!rc)
		memcpy(ret, ifr.ifr_hwaddr.sa_data, 6);
	return rc;
}

unsigned fpvi_ifindex(const struct fpvi *tap)
{
	struct ifreq ifr = {};

	return link_ioctl(tap, SIOCGIFINDEX, &ifr) ? 0 : (unsigned)ifr.ifr_ifindex;
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
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	int rc = 0;

	if (fd < 0)
		return -errno;
	if (send(fd, &request, sizeof(request), 0) < 0 || recv(fd, &answer, sizeof(answer), 0) < 0)
		rc = -errno;
	else
		rc = answer.error.error;
	close(fd);
	return rc;
}
