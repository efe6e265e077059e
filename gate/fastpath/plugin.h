// SPDX-License-Identifier: BSD-3-Clause
/* Plugins: code of others in the fast path. This header, burst.h beside it and DPDK's are all that a plugin needs; it's a
 * shared object that fp-rte loads at its start (FP_PLUGINS in fast-path.env). gate/plugins has two samples and the guide.
 *
 *   #include <sluice/plugin.h>
 *   static const char *configure(const char *arguments) { ... return NULL; }
 *   static const char *start(void) { previous = fp_hook_ip_input(input); return NULL; }
 *   FP_PLUGIN("name", "1.0", "what it does", .configure = configure, .start = start)
 *
 * Two ways to get at packets:
 *
 *   hooks   replace a step of the way. fp_hook_X(mine) puts mine in front and returns the function that was there: call it with
 *           the packets that shall take their ordinary way. Of several plugins the one named last in FP_PLUGINS sees
 *           packets first. A step that nobody hooked costs nothing.
 *   stages  are places on the way between the steps (the table is stages.def; fp-cli stages lists them), to be switched on
 *           and off at run time.
 *
 * Threads: configure, start and stop run in the control thread, before workers run and after they ended. Hooks, stages, protocol
 * handlers and poll functions run on workers, several at once, each packet on one of them from beginning to end: state is
 * per worker (fp_plugin_worker) or read-only or atomic. There they don't wait, lock, allocate, call the kernel or log.
 *
 * Packets: bursts of 1 to FP_BURST. Whoever is called owns all of them, and ends each exactly once: hands it to the previous
 * function, leaves it in the burst (stages), drops it, gives it to Linux, or keeps it (a bounded number) and sends it on
 * later. A packet may consist of several segments; only what lies in the first (m->data_len) can be read at mtod.
 *
 * Compatibility: FP_PLUGIN_ABI counts changes of this header that break plugins; functions, and fields of struct fp_plugin at
 * its end, may be added without. A plugin is refused if its number, or the DPDK release it was built with, is another one.
 *
 * Interfaces are rows of fp-rte's table of Linux's links: good while the packet in hand is; fp_plugin_iface tells which. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <rte_version.h>

#include "burst.h"

#define FP_PLUGIN_ABI	  1
#define FP_PLUGIN_WORKERS 64 /* workers are numbered below */

struct fp_plugin {
	uint32_t abi;  /* FP_PLUGIN_ABI */
	uint32_t dpdk; /* year * 100 + month of DPDK's release */
	uint32_t size; /* of this struct */
	uint32_t pad;
	const char *name;    /* 1 to 23 lower-case letters, digits and '_' */
	const char *version; /* up to 15 characters */
	const char *text;    /* what it does, one line */
	/* What stands behind its name in FP_PLUGINS: "key=value,key=value", "" for nothing. NULL: fine; else what's wrong, in one
	 * line that stays valid. It's called by `fp-rte --check` as well, where DPDK isn't running. NULL: takes no arguments. */
	const char *(*configure)(const char *arguments);
	/* Once, after configure, with DPDK running and tables not yet there: hooks, stages, counters. Answer as above. */
	const char *(*start)(void);
	/* Once, after the last packet. May be NULL. */
	void (*stop)(void);
};

/* Defines what fp-rte looks for. The rest: .configure =, .start =, .stop = */
#define FP_PLUGIN(name_, version_, text_, ...)                                                     \
	__attribute__((visibility("default")))                                                     \
	const struct fp_plugin fp_plugin = {.abi = FP_PLUGIN_ABI,                                  \
					    .dpdk = RTE_VER_YEAR * 100 + RTE_VER_MONTH,            \
					    .size = sizeof(struct fp_plugin),                      \
					    .name = (name_),                                       \
					    .version = (version_),                                 \
					    .text = (text_),                                       \
					    __VA_ARGS__};

/* --- the steps that can be hooked; fp_X calls whoever is in front --- */

/* Of a port (its number in DPDK): frames, data at the Ethernet header. */
typedef void fp_port_fn(struct fp_worker *w, uint16_t port, struct rte_mbuf **pkts, uint16_t n);
/* Of an interface (row), data as the step says. */
typedef void fp_iface_fn(struct fp_worker *w, uint32_t iface, struct rte_mbuf **pkts, uint16_t n);
/* Packets whose output interface (row) and neighbours are known. */
typedef void fp_send_fn(struct fp_worker *w, uint32_t iface, struct fp_send *pkts, uint16_t n);
/* Packets of @ethertype (network byte order), data at the layer 3 header, for an interface (row). */
typedef void fp_output_fn(struct fp_worker *w, uint32_t iface, uint16_t ethertype,
			  struct fp_send *pkts, uint16_t n);

/* Frames as a port received them; m->port is the port. */
fp_port_fn *fp_hook_ether_input(fp_port_fn *hook);
/* IPv4 (IPv6) packets for this host's MAC address, of the interface they came in on: data at the IP header, of which nothing
 * is checked. m->l2_len bytes before it are the frame as it came in, to be left alone if the packet may go to Linux. A
 * packet that's changed here takes its way, and goes to Linux, as if it had come in so. */
fp_iface_fn *fp_hook_ip_input(fp_iface_fn *hook);
fp_iface_fn *fp_hook_ip6_input(fp_iface_fn *hook);
/* IPv4 (IPv6) packets, data at the IP header, as they will be on the wire: TTL counted down, within the MTU, neighbours resolved.
 * None can go to Linux from here on. */
fp_send_fn *fp_hook_ip_inetif_send(fp_send_fn *hook);
fp_send_fn *fp_hook_ip6_inet6if_send(fp_send_fn *hook);
/* The same of all families, by the interface's type. */
fp_output_fn *fp_hook_if_output(fp_output_fn *hook);
/* Frames for an Ethernet interface, data at the Ethernet header. */
fp_iface_fn *fp_hook_ether_output(fp_iface_fn *hook);
/* Frames that Linux sends on the TAP of a port. */
fp_port_fn *fp_hook_process_linux_tx(fp_port_fn *hook);

fp_send_fn fp_ip_inetif_send, fp_ip6_inet6if_send;
fp_output_fn fp_if_output;
fp_iface_fn fp_ether_output;

/* --- stages and protocols; registration in start only --- */

/* @fn works at the stage of this name (as of `fp-cli stages`) for all packets while it's enabled; at first it isn't. Returns the
 * stage's number; -ENOENT, -ENOSPC. The contract of stages is told in stage.h: @fn leaves in the burst what goes on. */
int fp_plugin_stage(const char *name, fp_stage_fn *fn);
/* Any thread but workers. Counts: as many times on as off. */
void fp_plugin_enable(int stage, bool on);
/* Worker: packets that were taken out at @stage go on behind it; at once or, with `nexthop` 0, in a poll function. */
void fp_plugin_resume(struct fp_worker *w, int stage, struct fp_burst *b);

/* Packets of @ethertype (host byte order) addressed to this host's MAC: data at the layer 3 header. -EEXIST, -ENOSPC. */
int fp_register_ethertype(uint16_t ethertype, fp_iface_fn *input);
/* Packets of @family (AF_INET, AF_INET6) for an address of this host, with IP protocol @protocol or to UDP port @port (host byte
 * order): data at the IP header, m->l3_len bytes up to the protocol's own, of which 8 bytes can be read. Whole packets only;
 * IPv6 without extension headers. What @fn leaves in the burst goes to Linux. -EEXIST, -ENOSPC. */
int fp_register_protocol(uint8_t family, uint8_t protocol, fp_stage_fn *fn);
int fp_register_udp(uint8_t family, uint16_t port, fp_stage_fn *fn);

/* @fn is called in each loop of those workers that want it (fp_want_poll): they keep packets. Meanwhile they don't sleep.
 * Returns a number for fp_want_poll; -ENOSPC. */
typedef void fp_poll_fn(struct fp_worker *w);
int fp_register_poll(fp_poll_fn *fn);
void fp_want_poll(struct fp_worker *w, int poll, bool wanted);

/* --- tunnels --- */

/* Worker: sends packets that start here (encapsulated): `vrf`, `family` and the packets of the burst are filled in, `iface` is the
 * row of the interface they came from, 0: none. By destination (`nexthop` 0), then the stages of the way out. FP_BURST_OWN is
 * set here: TTL stays as it is, and what can't be sent is dropped, for Linux couldn't do anything with it. */
void fp_ip_output(struct fp_worker *w, struct fp_burst *b);
/* Worker: takes @len bytes of outer headers off the front of @m; they stay before the data, unchanged, so that Linux can get the
 * packet as it came in. False: too many of them (113 bytes), or not in the first segment; nothing was done. */
bool fp_plugin_decapsulate(struct rte_mbuf *m, uint16_t len);
/* Worker: what fp_plugin_decapsulate left starts again on @iface (row), as of @ethertype (network byte order). */
void fp_plugin_receive(struct fp_worker *w, uint32_t iface, uint16_t ethertype,
		       struct rte_mbuf **pkts, uint16_t n);

/* Of a packet that Linux can't get as it came in, for what it was in is decrypted. */
enum fp_special_flags {
	/* It came in protected, as inbound policies want it: it passes Linux's check of these. Linux takes it with marks below
	 * 1 << 24 only. */
	FP_SPECIAL_IPSEC = 1 << 0,
};
struct fp_special {
	uint32_t iface; /* row: where Linux shall see it come in */
	uint32_t mark;	/* that it gets in Linux */
	uint32_t flags; /* enum fp_special_flags */
};
/* Worker: if @m, data at its IP header (fp_plugin_decapsulate has taken off what it was in), comes to an exception from here on, Linux
 * gets it as it is now, by way of fpn0, instead of the frame as it came in. Asked for by fp_want_special(true) in start;
 * until fpn0 is there such a packet is dropped (special_not_ready), so ask fp_plugin_special_ready of its VRF before it's decrypted. */
void fp_make_special(struct rte_mbuf *m, const struct fp_special *s);
void fp_want_special(bool on);
bool fp_plugin_special_ready(uint32_t vrf);

/* --- ends, counters; numbers are given out in start only --- */

enum fp_plugin_count {
	FP_COUNT_DROP,	    /* packets dropped: fp-cli drops */
	FP_COUNT_EXCEPTION, /* packets given to Linux: fp-cli exceptions */
	FP_COUNT_OTHER,	    /* anything: fp-cli plugins */
};
/* A counter, shown as the plugin's name, '_' and @name (together up to 39 lower-case letters, digits and '_'); @text: up to 83
 * characters. Returns its number; -EINVAL, -ENOSPC. */
int fp_plugin_counter(enum fp_plugin_count kind, const char *name, const char *text);

/* Worker. fp_plugin_drop frees a packet; fp_plugin_to_linux hands it to Linux on the TAP of m->port, data at the layer m->l2_len
 * bytes behind the frame as it came in (0: at the frame). Both count. */
void fp_plugin_drop(struct fp_worker *w, struct rte_mbuf *m, int counter);
void fp_plugin_to_linux(struct fp_worker *w, struct rte_mbuf *m, int counter);
void fp_plugin_count(struct fp_worker *w, int counter, uint64_t n);

/* --- what else there is to know --- */

/* Worker: its number, below FP_PLUGIN_WORKERS; seconds of CLOCK_MONOTONIC. */
unsigned fp_plugin_worker(const struct fp_worker *w);
uint32_t fp_plugin_seconds(const struct fp_worker *w);

struct fp_plugin_iface {
	uint32_t ifindex; /* 0: the link is gone */
	uint32_t vrf;
	uint32_t mtu;
	uint8_t mac[6];
	uint8_t pad[2];
	char name[16];
};
/* Worker. */
void fp_plugin_iface(uint32_t iface, struct fp_plugin_iface *ret);
