// SPDX-License-Identifier: BSD-3-Clause
#include "fpn/capture.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <linux/bpf.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include <rte_mbuf.h>

#include "fpn/packets.h"

#define SEGMENTS_MAX 8
#define CLOSED	     ((struct capture){-1, -1, -1, -1, -1})
/* On the tcx: no verdict of ours, on to the next program or the stack. */
#define NEXT (-1)

/* --- eBPF, by hand: no compiler's output to ship for a few instructions each --- */

#define INSN(op, dst, src, offset, value)                                                          \
	{.code = (op), .dst_reg = (dst), .src_reg = (src), .off = (offset), .imm = (int)(value)}
#define SET(dst, value)	  INSN(BPF_ALU64 | BPF_MOV | BPF_K, dst, 0, 0, value)
#define COPY(dst, src)	  INSN(BPF_ALU64 | BPF_MOV | BPF_X, dst, src, 0, 0)
#define LOAD(dst, field)  INSN(BPF_LDX | BPF_MEM | BPF_W, dst, 6, FIELD(field), 0)
#define STORE(field, src) INSN(BPF_STX | BPF_MEM | BPF_W, 6, src, FIELD(field), 0)
#define SET64(dst, value)                                                                          \
	INSN(BPF_LD | BPF_IMM | BPF_DW, dst, 0, 0, value), INSN(0, 0, 0, 0, (value) >> 32)
#define CALL(function)	     INSN(BPF_JMP | BPF_CALL, 0, 0, 0, function)
#define IF_SAME(a, b, skip)  INSN(BPF_JMP | BPF_JEQ | BPF_X, a, b, skip, 0)
#define IF_OTHER(a, b, skip) INSN(BPF_JMP | BPF_JNE | BPF_X, a, b, skip, 0)
#define EXIT		     INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0)
#define FIELD(field)	     offsetof(struct __sk_buff, field)

static int load(enum bpf_prog_type type, enum bpf_attach_type attach, const char *name,
		const struct bpf_insn *insns, size_t n)
{
	LIBBPF_OPTS(bpf_prog_load_opts, options, .expected_attach_type = attach);

	return bpf_prog_load(type, name, "Dual BSD/GPL", insns, n, &options);
}

#define LOAD_PROGRAM(type, attach, name, insns)                                                    \
	load(type, attach, name, insns, sizeof(insns) / sizeof(*(insns)))

/* What comes from the socket for received packets goes round to the ingress, marked. */
static int load_egress(uint64_t sent, uint64_t received, uint32_t mark)
{
	const struct bpf_insn insns[] = {
		COPY(6, 1),
		CALL(BPF_FUNC_get_socket_cookie),
		SET64(1, received),
		IF_SAME(0, 1, 7),
		SET64(1, sent),
		IF_OTHER(0, 1, 2),
		SET(0, TCX_PASS),
		EXIT,
		SET(0, NEXT),
		EXIT,
		/* received: */
		SET(1, mark),
		STORE(mark, 1),
		LOAD(1, ifindex),
		SET(2, BPF_F_INGRESS),
		CALL(BPF_FUNC_redirect),
		EXIT,
	};

	return LOAD_PROGRAM(BPF_PROG_TYPE_SCHED_CLS, BPF_TCX_EGRESS, "sluice_egress", insns);
}

static int load_ingress(uint32_t mark)
{
	const struct bpf_insn insns[] = {
		COPY(6, 1),   LOAD(1, mark),	 INSN(BPF_ALU | BPF_MOV | BPF_K, 2, 0, 0, mark),
		SET(0, NEXT), IF_OTHER(1, 2, 1), SET(0, TCX_DROP),
		EXIT,
	};

	return LOAD_PROGRAM(BPF_PROG_TYPE_SCHED_CLS, BPF_TCX_INGRESS, "sluice_ingress", insns);
}

static int load_tap_drops(uint64_t sent, uint64_t received)
{
	const struct bpf_insn insns[] = {
		COPY(6, 1),	    CALL(BPF_FUNC_get_socket_cookie),
		SET64(1, received), IF_SAME(0, 1, 5),
		SET64(1, sent),	    IF_SAME(0, 1, 2),
		LOAD(0, len),	    EXIT,
		SET(0, 0),	    EXIT,
	};

	return LOAD_PROGRAM(BPF_PROG_TYPE_SOCKET_FILTER, 0, "sluice_tap", insns);
}

static int open_socket(uint64_t *ret_cookie)
{
	socklen_t len = sizeof(*ret_cookie);
	/* Protocol 0: it gets no packets. */
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd >= 0 && getsockopt(fd, SOL_SOCKET, SO_COOKIE, ret_cookie, &len)) {
		close(fd);
		return -1;
	}
	return fd;
}

int capture_open(struct capture *ret, struct err *err)
{
	struct capture c = CLOSED;
	uint64_t sent = 0, received = 0;
	uint32_t mark = 0;
	int code;

	*ret = CLOSED;
	if (getrandom(&mark, sizeof(mark), 0) != sizeof(mark))
		return err_set(err, errno, "no random number: %s", strerror(errno));
	mark |= 1; /* never 0, which is what packets have */
	if ((c.sent_fd = open_socket(&sent)) < 0 || (c.received_fd = open_socket(&received)) < 0) {
		code = errno;
		capture_close(&c);
		return err_set(err, code, "no packet socket: %s", strerror(code));
	}
	if ((c.egress = load_egress(sent, received, mark)) < 0 ||
	    (c.ingress = load_ingress(mark)) < 0 ||
	    (c.tap_drops = load_tap_drops(sent, received)) < 0) {
		code = errno;
		capture_close(&c);
		err_set(err, code, "Linux takes no eBPF program: %s", strerror(code));
		return err_hint(err, "it takes Linux 6.6 and the capability CAP_BPF");
	}
	*ret = c;
	return 0;
}

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

void capture_close(struct capture *c)
{
	close_fd(&c->sent_fd);
	close_fd(&c->received_fd);
	close_fd(&c->egress);
	close_fd(&c->ingress);
	close_fd(&c->tap_drops);
}

int capture_guard(const struct capture *c, int tap_fd)
{
	int program = c ? c->tap_drops : -1;

	return ioctl(tap_fd, TUNSETFILTEREBPF, &program) ? -errno : 0;
}

int capture_attach(const struct capture *c, unsigned ifindex, struct capture_links *ret,
		   struct err *err)
{
	/* In front of others: they never see a copy. */
	LIBBPF_OPTS(bpf_link_create_opts, first, .flags = BPF_F_BEFORE);
	struct capture_links links = {-1, -1};

	/* The drop first: nothing may come in before it's there. */
	links.ingress = bpf_link_create(c->ingress, (int)ifindex, BPF_TCX_INGRESS, &first);
	if (links.ingress >= 0)
		links.egress = bpf_link_create(c->egress, (int)ifindex, BPF_TCX_EGRESS, &first);
	if (links.egress < 0) {
		int code = errno;

		capture_detach(&links);
		err_set(err, code, "Linux takes no eBPF program on a TAP: %s", strerror(code));
		return err_hint(err, "captures of the fast path's packets take Linux 6.6");
	}
	*ret = links;
	return 0;
}

void capture_detach(struct capture_links *links)
{
	close_fd(&links->egress);
	close_fd(&links->ingress);
}

unsigned capture_send(const struct capture *c, bool sent, struct rte_mbuf *const *pkts,
		      const unsigned *ifindex, unsigned n)
{
	struct iovec parts[CAPTURE_BATCH][SEGMENTS_MAX];
	struct sockaddr_ll to[CAPTURE_BATCH];
	struct mmsghdr msgs[CAPTURE_BATCH] = {};
	unsigned taken = 0;

	for (unsigned i = 0; i < n; i++) {
		struct msghdr *msg = &msgs[i].msg_hdr;

		to[i] = (struct sockaddr_ll){.sll_family = AF_PACKET,
					     .sll_ifindex = (int)ifindex[i]};
		*msg = (struct msghdr){
			.msg_name = &to[i], .msg_namelen = sizeof(to[i]), .msg_iov = parts[i]};
		msg->msg_iovlen = RTE_MIN(packet_pieces(pkts[i], parts[i], SEGMENTS_MAX),
					  (unsigned)SEGMENTS_MAX);
	}
	for (unsigned done = 0; done < n;) {
		int rc = sendmmsg(sent ? c->sent_fd : c->received_fd, msgs + done, n - done,
				  MSG_DONTWAIT);

		/* The first one of the rest isn't wanted (longer than the MTU, TAP down): on without it. */
		done += rc > 0 ? (unsigned)rc : 1;
		taken += rc > 0 ? (unsigned)rc : 0;
	}
	return taken;
}
