// SPDX-License-Identifier: BSD-3-Clause
/* The eBPF program on fpn0, run by the kernel on frames of ours (BPF_PROG_TEST_RUN). Where it redirects to can't be seen here:
 * test_fptun.py has the whole. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <cmocka.h>
#include <errno.h>
#include <linux/bpf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bpf/fptun/fptun.h"
#include "fpn/fpn0.h"

#define ETHER  14
#define PACKET 60

static int program, counts;

struct frame {
	uint8_t data[2048];
	uint32_t len;
};

/* What Linux has after the program. */
struct verdict {
	uint32_t code, mark, len;
	uint8_t data[2048];
	uint64_t moved[FPTUN_COUNTS];
};

static struct fptun_trailer right(void)
{
	return (struct fptun_trailer){
		.magic = htonl(FPTUN_MAGIC),
		.version = FPTUN_VERSION,
		.type = FPTUN_RECEIVED,
		.flags = FPTUN_IPSEC,
		.ifindex = htonl(1),
	};
}

static struct frame frame(uint16_t ethertype, uint32_t payload, const struct fptun_trailer *t)
{
	struct frame f = {.len = ETHER + payload};

	for (uint32_t i = 0; i < f.len; i++)
		f.data[i] = (uint8_t)i;
	f.data[ETHER] = ethertype == 0x86dd ? 0x60 : 0x45;
	f.data[12] = (uint8_t)(ethertype >> 8);
	f.data[13] = (uint8_t)ethertype;
	if (t) {
		memcpy(f.data + f.len, t, sizeof(*t));
		f.len += sizeof(*t);
	}
	return f;
}

static void read_counts(uint64_t ret[FPTUN_COUNTS])
{
	uint32_t key = 0;

	assert_int_equal(bpf_map_lookup_elem(counts, &key, ret), 0);
}

static struct verdict run(const struct frame *f)
{
	struct verdict v = {};
	struct __sk_buff skb = {.mark = 0x55};
	uint64_t before[FPTUN_COUNTS], after[FPTUN_COUNTS];
	LIBBPF_OPTS(bpf_test_run_opts, o, .data_in = f->data, .data_size_in = f->len,
		    .data_out = v.data, .data_size_out = sizeof(v.data), .ctx_in = &skb,
		    .ctx_size_in = sizeof(skb), .ctx_out = &skb, .ctx_size_out = sizeof(skb));

	read_counts(before);
	assert_int_equal(bpf_prog_test_run_opts(program, &o), 0);
	read_counts(after);
	for (unsigned i = 0; i < FPTUN_COUNTS; i++)
		v.moved[i] = after[i] - before[i];
	v.code = o.retval;
	v.len = o.data_size_out;
	v.mark = skb.mark;
	return v;
}

static void assert_dropped(const struct frame *f)
{
	struct verdict v = run(f);

	assert_int_equal(v.code, TCX_DROP);
	assert_int_equal(v.moved[FPTUN_MALFORMED], 1);
	assert_int_equal(v.moved[FPTUN_PASSED], 0);
}

static void assert_passes(const struct frame *f, uint32_t mark)
{
	struct verdict v = run(f);

	assert_int_equal(v.code, TCX_REDIRECT);
	assert_int_equal(v.len, f->len - FPTUN_TRAILER_SIZE);
	assert_memory_equal(v.data, f->data, v.len);
	assert_int_equal(v.mark, mark);
	assert_int_equal(v.moved[FPTUN_PASSED], 1);
	assert_int_equal(v.moved[FPTUN_MALFORMED], 0);
}

static void a_packet_goes_on_without_its_trailer(void **state)
{
	static const uint16_t types[] = {0x0800, 0x86dd};

	for (unsigned i = 0; i < 2; i++)
		for (uint32_t len = 20; len < 1600; len += 79) {
			struct fptun_trailer t = right();
			struct frame f = frame(types[i], len, &t);

			assert_passes(&f, FPTUN_MARK);
		}
}

static void its_mark_is_that_of_the_trailer(void **state)
{
	struct fptun_trailer t = right();
	struct frame f;

	t.mark = htonl(0x123456);
	f = frame(0x0800, PACKET, &t);
	assert_passes(&f, FPTUN_MARK | 0x123456);
	t.flags = 0;
	t.mark = htonl(0x80123456);
	f = frame(0x0800, PACKET, &t);
	assert_passes(&f, 0x80123456);
	t.mark = 0;
	f = frame(0x0800, PACKET, &t);
	assert_passes(&f, 0);
}

static void anything_else_is_dropped(void **state)
{
	struct fptun_trailer wrong[8];
	struct frame f;

	for (unsigned i = 0; i < 8; i++)
		wrong[i] = right();
	wrong[0].magic ^= 1;
	wrong[1].version++;
	wrong[2].type = 0;
	wrong[3].type = FPTUN_RECEIVED + 1;
	wrong[4].flags |= 0x80;
	wrong[5].pad = 1;
	wrong[6].ifindex = 0;
	wrong[7].mark = htonl(0x01000000);
	for (unsigned i = 0; i < 8; i++) {
		f = frame(0x0800, PACKET, &wrong[i]);
		assert_dropped(&f);
	}
	f = frame(0x0800, PACKET, NULL);
	assert_dropped(&f);
}

static void only_ip_goes_on(void **state)
{
	static const uint16_t types[] = {0x0806, 0x8100, 0x0000, 0x88cc, 0x05dc};
	struct fptun_trailer t = right();

	for (unsigned i = 0; i < 5; i++) {
		struct frame f = frame(types[i], PACKET, &t);

		assert_dropped(&f);
	}
}

static void whatever_is_too_short_is_dropped(void **state)
{
	struct fptun_trailer t = right();

	/* The kernel takes no test frames without a whole IPv4 header. */
	for (uint32_t len = 1; len < 20; len++) {
		struct frame f = frame(0x0800, len, &t), bare = frame(0x0800, 20 + len, NULL);

		assert_dropped(&f);
		assert_dropped(&bare);
	}
}

static void no_bytes_but_the_right_ones_pass(void **state)
{
	srandom(1);
	for (unsigned i = 0; i < 2000; i++) {
		struct fptun_trailer t = right();
		struct frame f;
		unsigned at = (unsigned)random() % 8;
		uint8_t flip = (uint8_t)(1 + random() % 255);

		/* Those behind name a VRF, an interface, a mark. */
		((uint8_t *)&t)[at] ^= flip;
		f = frame(0x0800, PACKET, &t);
		if (at == offsetof(struct fptun_trailer, flags) && !(t.flags & ~FPTUN_FLAGS))
			assert_passes(&f, 0);
		else
			assert_dropped(&f);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_packet_goes_on_without_its_trailer),
		cmocka_unit_test(its_mark_is_that_of_the_trailer),
		cmocka_unit_test(anything_else_is_dropped),
		cmocka_unit_test(only_ip_goes_on),
		cmocka_unit_test(whatever_is_too_short_is_dropped),
		cmocka_unit_test(no_bytes_but_the_right_ones_pass),
	};

	program = fpn0_program(&counts);
	if (program < 0) {
		printf("SKIP: this kernel takes no eBPF program of ours: %s\n", strerror(-program));
		return program == -EPERM ? 77 : 1;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
