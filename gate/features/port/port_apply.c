// SPDX-License-Identifier: BSD-3-Clause
/* Ports and interfaces find each other by the TAP's namespace and ifindex, whichever is known first. */
#include "features/port/port.h"

#include <errno.h>
#include <string.h>

#include "features/iface/iface.h"
#include "features/vrf/vrf.h"
#include "fpmd/fpm.h"

static struct port_row *rows;
static struct shm_table_dir *dir;

uint32_t port_of_iface(uint32_t vrf, uint32_t ifindex)
{
	if (ifindex)
		for (uint32_t i = 0; i < FPC_PORT_MAX; i++)
			if (rows[i].tap_ifindex == ifindex && vrf_of_netns(rows[i].netns) == vrf)
				return i;
	return PORT_NONE;
}

/* The link behind port @i may be another one now. */
static void look_again(uint32_t i)
{
	uint32_t vrf = vrf_of_netns(rows[i].netns);

	if (vrf != VRF_NONE)
		iface_port_changed(vrf, rows[i].tap_ifindex);
}

void port_vrf_changed(uint32_t vrf)
{
	for (uint32_t i = 0; i < FPC_PORT_MAX; i++) {
		uint32_t iface = rows[i].iface;

		if (iface && iface_get(iface)->vrf == vrf) {
			port_set_iface(i, 0);
			iface_port_changed(vrf, rows[i].tap_ifindex);
		}
		if (rows[i].tap_ifindex && vrf_of_netns(rows[i].netns) == vrf)
			look_again(i);
	}
}

void port_set_iface(uint32_t port, uint32_t iface)
{
	atomic_store_explicit((_Atomic uint32_t *)&rows[port].iface, iface, memory_order_release);
}

static int init(struct fpm *fpm, struct err *err)
{
	rows = shm_rows(&fpm->config, "port");
	dir = shm_find(&fpm->config, "port");
	return 0;
}

/* Takes port @i out of its interface. */
static void unbind(uint32_t i)
{
	uint32_t vrf = vrf_of_netns(rows[i].netns), ifindex = rows[i].tap_ifindex;

	port_set_iface(i, 0);
	rows[i].tap_ifindex = 0;
	if (vrf != VRF_NONE)
		iface_port_changed(vrf, ifindex);
}

static void clear(uint32_t i)
{
	unbind(i);
	memset(rows[i].mac, 0, sizeof(rows[i].mac));
	memset(rows[i].name, 0, sizeof(rows[i].name));
	shm_count(dir, -1);
}

static int check(const struct fpc_port *msg, struct err *err)
{
	uint32_t other;

	if (msg->port >= FPC_PORT_MAX) {
		fpm_field("port");
		return err_set(err, ERANGE, "port %u: numbers go up to %u", msg->port,
			       FPC_PORT_MAX - 1);
	}
	if (!msg->tap_ifindex) {
		fpm_field("tap_ifindex");
		return err_set(err, EINVAL, "port %u has no TAP", msg->port);
	}
	for (other = 0; other < FPC_PORT_MAX; other++)
		if (rows[other].tap_ifindex == msg->tap_ifindex && rows[other].netns == msg->netns)
			break;
	if (other < FPC_PORT_MAX && other != msg->port) {
		fpm_field("tap_ifindex");
		return err_set(err, EEXIST, "port %u already stands behind ifindex %u", other,
			       msg->tap_ifindex);
	}
	return 0;
}

static int set(struct fpm *fpm, const void *msg, const void *old, uint64_t *priv, struct err *err)
{
	const struct fpc_port *port = msg;
	struct port_row *row;
	int rc = check(port, err);

	if (rc) {
		if (old)
			clear(((const struct fpc_port *)old)->port);
		return rc;
	}
	row = &rows[port->port];
	if (!old)
		shm_count(dir, 1);
	else if (row->tap_ifindex != port->tap_ifindex || row->netns != port->netns)
		unbind(port->port);
	memcpy(row->mac, port->mac, sizeof(row->mac));
	memcpy(row->name, port->name, sizeof(row->name));
	row->netns = port->netns;
	row->tap_ifindex = port->tap_ifindex;
	look_again(port->port);
	return 0;
}

static void del(struct fpm *fpm, const void *old, uint64_t priv)
{
	clear(((const struct fpc_port *)old)->port);
}

const struct fpm_apply port_apply = {.init = init, .set = set, .del = del};
