// SPDX-License-Identifier: BSD-3-Clause
/* What fp-rte will use: the settings with every `auto` resolved against a machine. Pure: tests feed it machines. */
#pragma once

#include "fastpath/system.h"
#include "features/port/fpc_port.h"
#include "lib/settings.h"
#include "shm/quiesce.h"

#define PLAN_PROBLEMS_MAX 16
#define PLAN_DEVICE_LEN	  512
#define PLAN_WORKERS_MAX  (WORKERS_MAX - 1) /* the last row is the exception thread's */

struct plan_port {
	char name[IFACE_NAME_LEN];    /* of the port and its TAP */
	char device[PLAN_DEVICE_LEN]; /* PCI address, or virtual device with arguments */
	bool is_pci;
	char driver[32]; /* PCI: kernel driver to bind it to */
	char bound[32];	 /* PCI: kernel driver it's bound to now, "" for none */
	const char *name_from;
};

struct plan {
	struct plan_port ports[FPC_PORT_MAX];
	unsigned n_ports, n_pci;
	uint16_t cores[WORKERS_MAX];
	unsigned n_cores;
	unsigned control_core;
	unsigned exception_core;
	bool hugepages;
	uint32_t memory; /* MiB */
	uint32_t mbufs;
	uint32_t
		mbuf_room; /* bytes of a packet buffer without headroom: a frame of the largest MTU */
	uint32_t mtu;
	uint16_t rx_descriptors, tx_descriptors;
	bool vhost; /* TAPs over vhost-net, else polled TAP queues */
	uint32_t exception_rate, exception_total, exception_control; /* packets a second */
	uint32_t spread;       /* enum plan_spread; with one worker there is none */
	uint32_t idle_sleep;   /* microseconds */
	uint64_t huge_missing; /* bytes of huge pages that aren't free now */
	/* Everything that's wrong; the first is the most basic one. */
	struct err problems[PLAN_PROBLEMS_MAX];
	unsigned n_problems;
};

/* Of packets over workers, where a port has too few receive queues. */
enum plan_spread { PLAN_SPREAD_NO, PLAN_SPREAD_AUTO, PLAN_SPREAD_ALWAYS };

enum plan_for {
	PLAN_START, /* ports must be bound already, huge pages free */
	PLAN_BIND,  /* they will be */
	PLAN_LOOK,  /* a running instance may have taken its memory: don't mind free pages */
};

/* Fills @ret, problems included; never fails. */
void plan_make(struct plan *ret, const struct settings *settings, const struct system *system,
	       enum plan_for for_what);

/* Writes what would be used, and from where, as lines for people. */
void plan_print(const struct plan *plan, const struct settings *settings);

/* Whether @driver is one by which DPDK reaches a device. */
bool plan_is_dpdk_driver(const char *driver);
