// SPDX-License-Identifier: BSD-3-Clause
/* The header in front of a TAP's packets: what Linux left to the device is done, what it can't ask for is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fpn/vnet.h"

/* RFC 1071, word by word: the oracle. */
static uint16_t checksum(const uint8_t *data, size_t len)
{
	uint32_t sum = 0;

	for (size_t i = 0; i < len; i++)
		sum += i % 2 ? data[i] : (uint32_t)data[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

static uint16_t get16(const uint8_t *at)
{
	return (uint16_t)(at[0] << 8 | at[1]);
}

static void put16(uint8_t *at, uint16_t v)
{
	at[0] = (uint8_t)(v >> 8);
	at[1] = (uint8_t)v;
}

static void a_frame_without_requests_stays_as_it_is(void **state)
{
	struct virtio_net_hdr header = {};
	uint8_t frame[64], before[64];

	memset(frame, 0x5a, sizeof(frame));
	memcpy(before, frame, sizeof(frame));
	assert_true(vnet_finish(&header, frame, sizeof(frame)));
	assert_memory_equal(frame, before, sizeof(frame));
}

static void a_partial_checksum_is_finished(void **state)
{
	srandom(1);
	for (size_t len = 42; len < 300; len++) {
		struct virtio_net_hdr header = {
			.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM, .csum_start = 34, .csum_offset = 6};
		/* UDP in IPv4; the checksum field holds the pseudo header's sum, as Linux leaves it. */
		uint8_t frame[300], pseudo[12 + 300];
		size_t udp = len - 34;

		for (size_t i = 0; i < len; i++)
			frame[i] = (uint8_t)random();
		memcpy(pseudo, frame + 26, 8);
		pseudo[8] = 0;
		pseudo[9] = 17;
		put16(pseudo + 10, (uint16_t)udp);
		put16(frame + 40, (uint16_t)~checksum(pseudo, 12));

		assert_true(vnet_finish(&header, frame, len));
		memcpy(pseudo + 12, frame + 34, udp);
		assert_int_equal(checksum(pseudo, 12 + udp), 0);
		assert_int_not_equal(get16(frame + 40), 0);
	}
}

static void a_sum_of_zero_is_sent_as_ones(void **state)
{
	struct virtio_net_hdr header = {
		.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM, .csum_start = 14, .csum_offset = 2};
	uint8_t frame[18] = {};

	put16(frame + 14, 0xffff);
	assert_true(vnet_finish(&header, frame, sizeof(frame)));
	assert_int_equal(get16(frame + 16), 0xffff);
}

static void bytes_in_front_of_the_start_do_not_count(void **state)
{
	struct virtio_net_hdr header = {
		.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM, .csum_start = 14, .csum_offset = 0};
	uint8_t frame[17];

	memset(frame, 0xee, 14);
	memcpy(frame + 14, "\0\0\x12", 3);
	assert_true(vnet_finish(&header, frame, sizeof(frame)));
	assert_int_equal(get16(frame + 14), (uint16_t)~0x1200);
}

static void a_start_or_field_outside_the_frame_is_refused(void **state)
{
	static const struct {
		uint16_t start, offset;
		bool ok;
	} cases[] = {
		{14, 48, true}, {14, 49, false},	 {63, 0, false},     {62, 0, true},
		{65, 0, false}, {0xffff, 0xffff, false}, {0, 0xffff, false},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct virtio_net_hdr header = {.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
						.csum_start = cases[i].start,
						.csum_offset = cases[i].offset};
		/* Its own allocation, so that the sanitizer sees a read beyond it. */
		uint8_t *frame = calloc(1, 64);

		assert_non_null(frame);
		assert_int_equal(vnet_finish(&header, frame, 64), cases[i].ok);
		free(frame);
	}
}

static void segmentation_is_refused(void **state)
{
	struct virtio_net_hdr header = {.gso_type = VIRTIO_NET_HDR_GSO_TCPV4, .gso_size = 1400};
	uint8_t frame[64] = {};

	assert_false(vnet_finish(&header, frame, sizeof(frame)));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_frame_without_requests_stays_as_it_is),
		cmocka_unit_test(a_partial_checksum_is_finished),
		cmocka_unit_test(a_sum_of_zero_is_sent_as_ones),
		cmocka_unit_test(bytes_in_front_of_the_start_do_not_count),
		cmocka_unit_test(a_start_or_field_outside_the_frame_is_refused),
		cmocka_unit_test(segmentation_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
