// SPDX-License-Identifier: BSD-3-Clause
/* Pure parts of the SDK: core sets, checksums, flow hashes, runs and pieces of packets. */
#include <setjmp.h>
#include <stdarg.h>
#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fpn/checksum.h"
#include "fpn/cores.h"
#include "fpn/frame_hash.h"
#include "fpn/packets.h"

/* --- core sets --- */

static void core_sets_are_read_and_written(void **state)
{
	static const struct {
		const char *text, *again;
	} good[] = {{"0", "0"},	      {"1,3-5", "1,3-5"},      {"3,0-1,1", "0,1,3"},
		    {"5-5", "5"},     {"7,6,5,4", "4-7"},      {"0-3,2-9", "0-9"},
		    {"1023", "1023"}, {"1,2,4,5,6", "1,2,4-6"}};
	static const char *const bad[] = {"",	",",	"1,",	"1-",
					  "-1", "3-1",	"1024", "1 2",
					  "a",	"1,,2", "0x1",	"99999999999999999999"};
	uint16_t cores[CORES_MAX];
	char text[CORES_TEXT], cut[8];
	unsigned n = 77;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(cores_parse(bad[i], cores, &n), -EINVAL);
		assert_int_equal(n, 77);
	}
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		assert_int_equal(cores_parse(good[i].text, cores, &n), 0);
		cores_print(cores, n, text, sizeof(text));
		assert_string_equal(text, good[i].again);
	}
	cores_print(cores, 0, text, sizeof(text));
	assert_string_equal(text, "none");
	/* The longest text there is: every other one. */
	for (n = 0; n < CORES_MAX / 2; n++)
		cores[n] = (uint16_t)(2 * n);
	cores_print(cores, n, text, sizeof(text));
	assert_int_equal(cores_parse(text, cores, &n), 0);
	assert_int_equal(n, CORES_MAX / 2);
	cores_print(cores, n, cut, sizeof(cut));
	assert_string_equal(cut, "0,2,4,6");
}

/* --- checksums --- */

/* RFC 1071, byte by byte: the oracle. */
static uint16_t naive(const uint8_t *data, size_t len)
{
	uint32_t sum = 0;

	for (size_t i = 0; i < len; i++)
		sum += i % 2 ? data[i] : (uint32_t)data[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

static uint16_t big(uint16_t v)
{
	return (uint16_t)(v << 8 | v >> 8);
}

static void checksums_agree_with_the_rfc(void **state)
{
	uint8_t data[1500];

	srandom(2);
	for (unsigned round = 0; round < 3000; round++) {
		size_t len = (size_t)random() % sizeof(data), cut = len / 2 & ~(size_t)1;

		for (size_t i = 0; i < len; i++)
			data[i] = round % 10 ? (uint8_t)random() : 0xff;
		assert_int_equal(big(checksum_fold(checksum_add(0, data, len))), naive(data, len));
		assert_int_equal(big(checksum_fold(checksum_add(checksum_add(0, data, cut),
								data + cut, len - cut))),
				 naive(data, len));
	}
	memset(data, 0xff, 4);
	assert_int_equal(checksum_fold(checksum_add(0, data, 4)), 0);
	assert_int_equal(checksum_fold_nonzero(checksum_add(0, data, 4)), 0xffff);
}

static void a_checksum_follows_a_field(void **state)
{
	srandom(3);
	for (unsigned round = 0; round < 100000; round++) {
		uint16_t words[10], was16, is16, check;
		uint32_t was, is;

		for (unsigned i = 0; i < 10; i++)
			words[i] = round % 7 ? (uint16_t)random() : random() % 2 ? 0xffff : 0;
		/* A header is never all zero: there its checksum would be ambiguous. */
		words[9] |= 1;
		words[0] = 0;
		words[0] = checksum_fold(checksum_add(0, words, sizeof(words)));
		was16 = words[3];
		is16 = round % 5 ? (uint16_t)random() : 0;
		words[3] = is16;
		check = checksum_replace16(words[0], was16, is16);
		words[0] = 0;
		assert_int_equal(check, checksum_fold(checksum_add(0, words, sizeof(words))));
		words[0] = check;
		memcpy(&was, &words[5], sizeof(was));
		is = (uint32_t)random();
		memcpy(&words[5], &is, sizeof(is));
		check = checksum_replace32(words[0], was, is);
		words[0] = 0;
		assert_int_equal(check, checksum_fold(checksum_add(0, words, sizeof(words))));
	}
}

/* --- flows --- */

static size_t frame4(uint8_t *f, unsigned tags, uint8_t proto, uint16_t fragment, unsigned options)
{
	size_t at = 12;

	memset(f, 0, 128);
	for (unsigned i = 0; i < tags; i++, at += 4)
		memcpy(f + at, i ? "\x81\x00\x00\x07" : "\x88\xa8\x00\x05", 4);
	memcpy(f + at, "\x08\x00", 2);
	at += 2;
	f[at] = (uint8_t)(0x45 + options);
	f[at + 6] = (uint8_t)(fragment >> 8);
	f[at + 7] = (uint8_t)fragment;
	f[at + 8] = 64;
	f[at + 9] = proto;
	memcpy(f + at + 12, "\xc0\x00\x02\x02\xc6\x33\x64\x02", 8);
	memcpy(f + at + 20 + 4 * options, "\x04\xd2\x00\x50", 4);
	return at + 20 + 4 * options + 8;
}

static void packets_of_a_flow_have_one_hash(void **state)
{
	uint8_t a[128], b[128];
	size_t n = frame4(a, 0, 17, 0, 0);

	/* What differs between a flow's packets doesn't count: identification, TTL, checksum, length, payload. */
	memcpy(b, a, sizeof(a));
	b[14 + 4] ^= 0x5a;
	b[14 + 8]--;
	b[14 + 10] ^= 1;
	b[14 + 3] ^= 3;
	b[n - 1] ^= 0xff;
	assert_int_equal(frame_hash(a, n), frame_hash(b, n));
	/* Tags are looked through. */
	n = frame4(b, 2, 17, 0, 0);
	assert_int_equal(frame_hash(a, n - 8), frame_hash(b, n));
	/* All else counts. */
	for (size_t i = 0; i < 12; i++) {
		static const uint8_t at[] = {23, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 37};

		n = frame4(a, 0, 17, 0, 0);
		memcpy(b, a, sizeof(a));
		b[at[i]] ^= 4;
		assert_int_not_equal(frame_hash(a, n), frame_hash(b, n));
	}
}

static void ports_count_only_where_they_are(void **state)
{
	static const struct {
		uint8_t proto;
		uint16_t fragment;
		unsigned options;
		bool counts;
	} cases[] = {{6, 0, 0, true},	{17, 0, 0, true},	{132, 0, 0, true},
		     {17, 0, 3, true},	{17, 0x4000, 0, true},	{1, 0, 0, false},
		     {50, 0, 0, false}, {17, 0x2000, 0, false}, {17, 5, 0, false}};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint8_t a[128], b[128];
		size_t n = frame4(a, 0, cases[i].proto, cases[i].fragment, cases[i].options);

		memcpy(b, a, sizeof(a));
		b[14 + 20 + 4 * cases[i].options + 3] ^= 1;
		if (cases[i].counts)
			assert_int_not_equal(frame_hash(a, n), frame_hash(b, n));
		else
			assert_int_equal(frame_hash(a, n), frame_hash(b, n));
	}
}

static void hashes_spread_flows_evenly(void **state)
{
	unsigned buckets[64] = {};
	uint8_t f[128], six[64] = {[12] = 0x86, [13] = 0xdd, [20] = 17};
	size_t n = frame4(f, 0, 17, 0, 0);

	for (unsigned i = 0; i < 6400; i++) {
		f[14 + 19] = (uint8_t)i;
		f[14 + 18] = (uint8_t)(i >> 8);
		buckets[frame_hash(f, n) % 64]++;
		six[14 + 39] = (uint8_t)i;
		six[14 + 38] = (uint8_t)(i >> 8);
		buckets[frame_hash(six, sizeof(six)) % 64]++;
	}
	/* 200 are expected, with a standard deviation of 14. */
	for (unsigned i = 0; i < 64; i++)
		assert_in_range(buckets[i], 120, 280);
}

static void no_byte_beyond_the_frame_is_read(void **state)
{
	srandom(4);
	for (unsigned round = 0; round < 20000; round++) {
		size_t len = (size_t)random() % 80;
		uint8_t *f = malloc(len ? len : 1), whole[128];

		for (size_t i = 0; i < len; i++)
			f[i] = (uint8_t)random();
		frame4(whole, (unsigned)random() % 3, round % 2 ? 6 : 17, 0,
		       (unsigned)random() % 11);
		if (round % 3)
			memcpy(f, whole, len);
		else if (len > 13)
			memcpy(f + 12, "\x86\xdd", 2);
		/* AddressSanitizer watches. */
		frame_hash(f, len);
		free(f);
	}
}

/* --- bursts --- */

static void runs_and_pieces_are_found(void **state)
{
	struct rte_mbuf m[5] = {{.port = 1}, {.port = 1}, {.port = 2}, {.port = 1}, {.port = 1}};
	struct rte_mbuf *pkts[5] = {&m[0], &m[1], &m[2], &m[3], &m[4]};
	struct iovec iov[2];
	char data[4];

	assert_int_equal(packets_run(pkts, 0, 5), 2);
	assert_int_equal(packets_run(pkts, 2, 5), 3);
	assert_int_equal(packets_run(pkts, 3, 5), 5);
	for (unsigned i = 0; i < 3; i++) {
		m[i].buf_addr = data;
		m[i].data_off = (uint16_t)i;
		m[i].data_len = 1;
		m[i].next = i < 2 ? &m[i + 1] : NULL;
	}
	assert_int_equal(packet_pieces(&m[1], iov, 2), 2);
	assert_ptr_equal(iov[0].iov_base, data + 1);
	assert_int_equal(iov[1].iov_len, 1);
	assert_int_equal(packet_pieces(&m[0], iov, 2), 3);
	assert_ptr_equal(iov[1].iov_base, data + 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(core_sets_are_read_and_written),
		cmocka_unit_test(checksums_agree_with_the_rfc),
		cmocka_unit_test(a_checksum_follows_a_field),
		cmocka_unit_test(packets_of_a_flow_have_one_hash),
		cmocka_unit_test(ports_count_only_where_they_are),
		cmocka_unit_test(hashes_spread_flows_evenly),
		cmocka_unit_test(no_byte_beyond_the_frame_is_read),
		cmocka_unit_test(runs_and_pieces_are_found),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
