// SPDX-License-Identifier: BSD-3-Clause
#include "fpn/ports.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <bpf/libbpf.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_log.h>
#include <rte_mbuf.h>
#include <xdp/libxdp.h>

#include "fastpath/fp.h"

static_assert(FP_HEADROOM == RTE_PKTMBUF_HEADROOM);

static char complaint[160];
static bool show_log;

/* DPDK's log comes here line by line. Only the last complaint is kept: it explains a failure better than an errno. */
static ssize_t take_log(void *cookie, const char *text, size_t len)
{
	const char *colon;

	if (show_log)
		fwrite(text, 1, len, stderr);
	if (rte_log_cur_msg_loglevel() <= (int)RTE_LOG_ERR) {
		snprintf(complaint, sizeof(complaint), "%.*s", (int)len, text);
		complaint[strcspn(complaint, "\n")] = '\0';
		/* "EAL: text", "VIRTIO_DRIVER: function(): text": only the text. */
		colon = strstr(complaint, "(): ");
		if (colon)
			memmove(complaint, colon + 4, strlen(colon + 4) + 1);
	}
	return (ssize_t)len;
}

const char *eal_complaint(void)
{
	return complaint;
}

static int log_to_us(bool debug)
{
	FILE *f = fopencookie(NULL, "w", (cookie_io_functions_t){.write = take_log});

	if (!f)
		return -errno;
	setvbuf(f, NULL, _IOLBF, 0);
	show_log = debug;
	return rte_openlog_stream(f);
}

int eal_start(const struct plan *plan, const char *instance, bool debug, struct err *err)
{
	char lcores[(WORKERS_MAX + 2) * 12], memory[16], prefix[64];
	char *argv[32 + 2 * FPC_PORT_MAX];
	int argc = 0, n;

	n = snprintf(lcores, sizeof(lcores), "0@%u", plan->control_core);
	for (unsigned i = 0; i < plan->n_cores; i++)
		n += snprintf(lcores + n, sizeof(lcores) - (size_t)n, ",%u@%u", i + 1,
			      plan->cores[i]);
	snprintf(lcores + n, sizeof(lcores) - (size_t)n, ",%u@%u", plan->n_cores + 1,
		 plan->exception_core);
	snprintf(memory, sizeof(memory), "%u", plan->memory);
	snprintf(prefix, sizeof(prefix), "--file-prefix=sluice.%s", instance);

	argv[argc++] = "fp-rte";
	/* Nothing of DPDK's in the file system: what a killed fp-rte had is gone with it. */
	argv[argc++] = plan->hugepages ? "--in-memory" : "--no-shconf";
	argv[argc++] = "--no-telemetry";
	argv[argc++] = prefix;
	argv[argc++] = "--lcores";
	argv[argc++] = lcores;
	argv[argc++] = "--main-lcore";
	argv[argc++] = "0";
	argv[argc++] = "-m";
	argv[argc++] = memory;
	if (debug)
		argv[argc++] = "--log-level=debug";
	if (!plan->hugepages)
		argv[argc++] = "--no-huge";
	if (!plan->n_pci)
		argv[argc++] = "--no-pci";
	for (unsigned i = 0; i < plan->n_pci; i++) {
		argv[argc++] = "-a";
		argv[argc++] = (char *)plan->ports[i].device;
	}
	argv[argc] = NULL;

	if (!debug) {
		/* net_af_xdp's libraries talk of trifles. */
		libbpf_set_print(NULL);
		libxdp_set_print(NULL);
	}
	n = log_to_us(debug);
	if (n)
		return err_set(err, -n, "can't take DPDK's log: %s", strerror(-n));
	if (rte_eal_init(argc, argv) < 0) {
		err_set(err, rte_errno ? rte_errno : EIO, "DPDK doesn't start: %s",
			rte_errno ? rte_strerror(rte_errno) : "no reason given");
		return complaint[0] ? err_hint(err, "DPDK says: %s", complaint) : -err->code;
	}
	return 0;
}

struct rte_mempool *eal_pool(const struct plan *plan, int socket, struct err *err)
{
	static struct rte_mempool *pools[RTE_MAX_NUMA_NODES];
	unsigned at = socket > 0 ? (unsigned)socket : 0;
	char name[32];

	if (at >= RTE_MAX_NUMA_NODES)
		at = 0;
	if (pools[at])
		return pools[at];
	snprintf(name, sizeof(name), "packets%u", at);
	pools[at] = rte_pktmbuf_pool_create(name, plan->mbufs, 256, 0,
					    (uint16_t)(FP_HEADROOM + plan->mbuf_room), (int)at);
	if (!pools[at]) {
		err_set(err, ENOMEM, "no memory for %u packet buffers of %u bytes", plan->mbufs,
			FP_HEADROOM + plan->mbuf_room);
		err_hint(err, "give more FP_MEMORY or huge pages, or fewer FP_MBUFS");
	}
	return pools[at];
}
