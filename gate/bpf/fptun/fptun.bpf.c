// SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause
/* On fpn0's tcx ingress: takes the trailer off each packet of the fast path and hands the packet to the interface that it
 * names, as if that one had received it. What isn't exactly as fptun.h says is dropped; nothing goes on on fpn0 itself. */
#include <linux/bpf.h>
#include <linux/if_ether.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "bpf/fptun/fptun.h"

#define IP_HEADER 20

__u64 fptun_counts[FPTUN_COUNTS];

static __always_inline int end(enum fptun_count what, int verdict)
{
	__sync_fetch_and_add(&fptun_counts[what], 1);
	return verdict;
}

static __always_inline int is_right(const struct __sk_buff *skb, const struct fptun_trailer *t)
{
	if (skb->protocol != bpf_htons(ETH_P_IP) && skb->protocol != bpf_htons(ETH_P_IPV6))
		return 0;
	if (t->magic != bpf_htonl(FPTUN_MAGIC) || t->version != FPTUN_VERSION || t->pad)
		return 0;
	if (t->type != FPTUN_RECEIVED || t->flags & ~FPTUN_FLAGS || !t->ifindex)
		return 0;
	return !(t->flags & FPTUN_IPSEC) || !(t->mark & bpf_htonl(FPTUN_MARK_MASK));
}

SEC("tcx/ingress")
int fptun(struct __sk_buff *skb)
{
	struct fptun_trailer t;
	__u32 len = skb->len;

	if (len < ETH_HLEN + IP_HEADER + sizeof(t) ||
	    bpf_skb_load_bytes(skb, len - sizeof(t), &t, sizeof(t)))
		return end(FPTUN_MALFORMED, TCX_DROP);
	if (!is_right(skb, &t))
		return end(FPTUN_MALFORMED, TCX_DROP);
	if (bpf_skb_change_tail(skb, len - sizeof(t), 0))
		return end(FPTUN_FAILED, TCX_DROP);
	skb->mark = bpf_ntohl(t.mark) | (t.flags & FPTUN_IPSEC ? FPTUN_MARK : 0);
	return end(FPTUN_PASSED, bpf_redirect(bpf_ntohl(t.ifindex), BPF_F_INGRESS));
}

_Static_assert(sizeof(struct fptun_trailer) == FPTUN_TRAILER_SIZE, "as told");

char fptun_license[] SEC("license") = "Dual BSD/GPL";
