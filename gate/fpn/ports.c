// SPDX-License-Identifier: BSD-3-Clause
#include "fpn/ports.h"

#include <errno.h>
#include <linux/if_arp.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <rte_bus_vdev.h>
#include <rte_dev.h>
#include <rte_errno.h>
#include <rte_ethdev.h>

static int fail(struct err *err, const struct plan_port *plan, int code, const char *what)
{
	if (code < 0)
		code = -code;
	err_set(err, code ? code : EIO, "port %s: %s %.100s: %s", plan->name, what, plan->device,
		rte_strerror(code ? code : EIO));
	return eal_complaint()[0] ? err_hint(err, "DPDK says: %s", eal_complaint()) : -err->code;
}

static int underlay_ioctl(const struct fpn_port *port, unsigned long request, struct ifreq *ifr)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int rc;

	if (fd < 0)
		return -errno;
	memcpy(ifr->ifr_name, port->underlay, sizeof(ifr->ifr_name));
	rc = ioctl(fd, request, ifr) ? -errno : 0;
	close(fd);
	return rc;
}

/* Packets that an interface of Linux received and dropped, as /proc/net/dev has it (in the namespace we're in); 0: unknown. */
static uint64_t underlay_dropped(const struct fpn_port *port)
{
	unsigned long long dropped = 0, bytes, packets, errors;
	FILE *f = fopen("/proc/net/dev", "re");
	char line[512];

	while (f && fgets(line, sizeof(line), f)) {
		char *colon = strchr(line, ':');
		char *name = line + strspn(line, " ");

		if (!colon)
			continue;
		*colon = '\0';
		if (strcmp(name, port->underlay))
			continue;
		if (sscanf(colon + 1, "%llu %llu %llu %llu", &bytes, &packets, &errors, &dropped) <
		    4)
			dropped = 0;
		break;
	}
	if (f)
		fclose(f);
	return dropped;
}

/* net_af_xdp doesn't count what comes while its ring is full, the interface does. */
static bool loses_silently(const struct plan_port *plan)
{
	return !strncmp(plan->device, "net_af_xdp", 10);
}

static bool is_af_packet(const struct plan_port *plan)
{
	return !strncmp(plan->device, "net_af_packet", 13);
}

/* A device that is an interface of Linux must be up there, as a NIC's driver switches its NIC on. Below net_af_packet
 * Linux gets every packet too, and must not answer ARP for the port's addresses; net_af_xdp takes them away. */
static int underlay_up(const struct fpn_port *port, struct err *err)
{
	short flags = is_af_packet(port->plan) ? IFF_UP | IFF_NOARP : IFF_UP;
	struct ifreq ifr = {};
	int rc = underlay_ioctl(port, SIOCGIFFLAGS, &ifr);

	if (!rc && (ifr.ifr_flags & flags) != flags) {
		ifr.ifr_flags |= flags;
		rc = underlay_ioctl(port, SIOCSIFFLAGS, &ifr);
	}
	return rc ? err_set(err, -rc, "port %s: can't set %s up: %s", port->plan->name,
			    port->underlay, strerror(-rc))
		  : 0;
}

static void find_underlay(struct fpn_port *port)
{
	const char *arg;

	if (strncmp(port->plan->device, "net_af_", 7))
		return;
	arg = strstr(port->plan->device, ",iface=");
	if (arg)
		snprintf(port->underlay, sizeof(port->underlay), "%.*s", (int)strcspn(arg + 7, ","),
			 arg + 7);
}

static int probe(const struct plan_port *plan, unsigned id, struct err *err)
{
	char name[RTE_DEV_NAME_MAX_LEN];
	uint16_t found;
	int rc = 0;

	snprintf(name, sizeof(name), "%.*s", (int)strcspn(plan->device, ","), plan->device);
	/* PCI devices came with rte_eal_init. rte_dev_probe would do for virtual ones, but takes 128 characters only. */
	if (!plan->is_pci)
		rc = rte_vdev_init(
			name, plan->device[strlen(name)] ? plan->device + strlen(name) + 1 : "");
	if (rc < 0)
		return fail(err, plan, rc, "can't open");
	if (rte_eth_dev_get_port_by_name(name, &found))
		return fail(err, plan, ENODEV, "no DPDK driver took");
	if (found != id)
		return err_set(err, EPROTO, "port %s: DPDK numbers it %u, not %u", plan->name,
			       found, id);
	return 0;
}

int port_open(struct fpn_port *ret, const struct plan *plan, unsigned id, struct err *err)
{
	const struct plan_port *p = &plan->ports[id];
	struct fpn_port port = {.plan = p, .id = (uint16_t)id};
	struct rte_eth_conf conf = {};
	uint16_t rxd = plan->rx_descriptors, txd = plan->tx_descriptors;
	struct rte_eth_dev_info info;
	struct rte_ether_addr mac;
	struct rte_mempool *pool;
	int rc;

	find_underlay(&port);
	rc = port.underlay[0] ? underlay_up(&port, err) : 0;
	if (!rc)
		rc = probe(p, id, err);
	if (rc)
		return rc;

	rc = rte_eth_dev_info_get(port.id, &info);
	if (rc)
		return fail(err, p, rc, "can't ask");
	snprintf(port.driver, sizeof(port.driver), "%s", info.driver_name);
	if (loses_silently(p))
		port.underlay_dropped = underlay_dropped(&port);
	port.n_rxq = (uint16_t)RTE_MIN(plan->n_cores, info.max_rx_queues);
	port.n_txq = (uint16_t)RTE_MIN(plan->n_cores, info.max_tx_queues);

	if (port.n_rxq > 1) {
		conf.rx_adv_conf.rss_conf.rss_hf =
			(RTE_ETH_RSS_IP | RTE_ETH_RSS_TCP | RTE_ETH_RSS_UDP) &
			info.flow_type_rss_offloads;
		if (conf.rx_adv_conf.rss_conf.rss_hf)
			conf.rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
	}
	/* A NIC takes frames of the largest MTU from the start. An interface of Linux keeps its own until it's changed. */
	if (p->is_pci)
		conf.rxmode.mtu =
			info.max_mtu && info.max_mtu < plan->mtu ? info.max_mtu : plan->mtu;
	conf.txmode.offloads = info.tx_offload_capa & RTE_ETH_TX_OFFLOAD_MULTI_SEGS;

	rc = rte_eth_dev_configure(port.id, port.n_rxq, port.n_txq, &conf);
	if (rc)
		return fail(err, p, rc, "can't configure");
	rc = rte_eth_dev_adjust_nb_rx_tx_desc(port.id, &rxd, &txd);
	if (rc)
		return fail(err, p, rc, "can't size the rings of");
	port.n_rxd = rxd;
	pool = eal_pool(plan, rte_eth_dev_socket_id(port.id), err);
	if (!pool)
		return -ENOMEM;
	for (uint16_t q = 0; q < port.n_rxq; q++) {
		rc = rte_eth_rx_queue_setup(port.id, q, rxd, SOCKET_ID_ANY, NULL, pool);
		if (rc)
			return fail(err, p, rc, "can't set up a receive queue of");
	}
	for (uint16_t q = 0; q < port.n_txq; q++) {
		rc = rte_eth_tx_queue_setup(port.id, q, txd, SOCKET_ID_ANY, NULL);
		if (rc)
			return fail(err, p, rc, "can't set up a transmit queue of");
	}
	rc = rte_eth_macaddr_get(port.id, &mac);
	if (rc)
		return fail(err, p, rc, "can't ask for the MAC of");
	memcpy(port.mac, mac.addr_bytes, sizeof(port.mac));
	memcpy(port.linux_mac, mac.addr_bytes, sizeof(port.mac));
	/* For the same reason the port needs an address that the interface below hasn't. */
	if (is_af_packet(p))
		port.linux_mac[0] = (port.linux_mac[0] | 0x02) ^ 0x04;
	*ret = port;
	return 0;
}

int port_start(struct fpn_port *port, const uint8_t mac[6], struct err *err)
{
	int rc = rte_eth_dev_start(port->id);

	if (rc)
		return fail(err, port->plan, rc, "can't start");
	port->started = true;
	/* Linux decides about multicast, so all of it is wanted. Devices that can't filter refuse and need neither. */
	if (rte_eth_allmulticast_enable(port->id))
		rte_eth_promiscuous_enable(port->id);
	port_set_mac(port, mac);
	return 0;
}

void port_close(struct fpn_port *port)
{
	if (port->started)
		rte_eth_dev_stop(port->id);
	port->started = false;
	rte_eth_dev_close(port->id);
}

void port_set_mac(struct fpn_port *port, const uint8_t mac[6])
{
	struct rte_ether_addr addr;

	if (!memcmp(port->mac, mac, 6))
		return;
	memcpy(addr.addr_bytes, mac, 6);
	/* Not on an interface of Linux: that one would then take the packets for its own, too. */
	if (port->plan->is_pci && !rte_eth_dev_default_mac_addr_set(port->id, &addr))
		memcpy(port->mac, mac, 6);
	else
		rte_eth_promiscuous_enable(port->id);
}

void port_set_mtu(struct fpn_port *port, uint16_t mtu)
{
	if (!port->plan->is_pci)
		rte_eth_dev_set_mtu(port->id, mtu);
}

void port_read(const struct fpn_port *port, struct port_state_row *row)
{
	struct rte_eth_link link = {};
	struct rte_eth_stats stats;

	if (port->underlay[0]) {
		/* net_af_packet never tells; Linux does. */
		struct ifreq ifr = {};

		row->link_up = !underlay_ioctl(port, SIOCGIFFLAGS, &ifr) &&
			       (ifr.ifr_flags & IFF_RUNNING) && (ifr.ifr_flags & IFF_UP);
		row->speed = 0;
	} else if (!rte_eth_link_get_nowait(port->id, &link)) {
		row->link_up = link.link_status;
		row->speed = link.link_speed == RTE_ETH_SPEED_NUM_UNKNOWN ? 0 : link.link_speed;
	}
	if (rte_eth_stats_get(port->id, &stats))
		return;
	row->rx_packets = stats.ipackets;
	row->rx_bytes = stats.ibytes;
	row->rx_missed = stats.imissed;
	if (loses_silently(port->plan)) {
		uint64_t dropped = underlay_dropped(port);

		row->rx_missed =
			dropped > port->underlay_dropped ? dropped - port->underlay_dropped : 0;
	}
	row->rx_errors = stats.ierrors;
	row->rx_nombuf = stats.rx_nombuf;
	row->tx_packets = stats.opackets;
	row->tx_bytes = stats.obytes;
	row->tx_errors = stats.oerrors;
}
