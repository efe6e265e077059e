// SPDX-License-Identifier: BSD-3-Clause
/* The M-trie's writer against a table that is searched line by line, and against readers that run at the same time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "features/route/mtrie.h"

#define ROOTS	 2
#define FALLBACK 7
#define PREFIXES 600

const struct mtrie_root_row *mtrie4_roots, *mtrie6_roots;
const struct mtrie_line_row *mtrie4_lines, *mtrie6_lines;

/* --- the naive table --- */

struct prefix {
	uint32_t root, value;
	uint8_t plen;
	uint8_t addr[16];
};

struct bench {
	struct fpm fpm;
	struct mtrie trie;
	uint8_t bits;
	bool dense; /* prefixes lie side by side, so that nodes have many entries */
	bool was_full;
	struct prefix prefixes[PREFIXES];
	unsigned n;
	char path[64];
};

static uint64_t seed;

/* splitmix64: the same numbers everywhere. */
static uint64_t roll(void)
{
	uint64_t z = seed += 0x9e3779b97f4a7c15ULL;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ z >> 27) * 0x94d049bb133111ebULL;
	return z ^ z >> 31;
}

static void mask(uint8_t addr[16], uint8_t plen)
{
	for (unsigned i = plen; i < 128; i++)
		addr[i / 8] &= (uint8_t)~(0x80 >> i % 8);
}

static bool covers(const struct prefix *p, const uint8_t *addr)
{
	uint8_t masked[16] = {0};

	memcpy(masked, addr, 16);
	mask(masked, p->plen);
	return !memcmp(masked, p->addr, 16);
}

static struct mtrie_cover longest(struct bench *b, uint32_t root, const uint8_t *addr, uint8_t plen)
{
	struct mtrie_cover best = {0};
	bool found = false;

	for (unsigned i = 0; i < b->n; i++) {
		const struct prefix *p = &b->prefixes[i];

		if (p->root == root && p->plen <= plen && covers(p, addr) &&
		    (!found || p->plen >= best.plen)) {
			best = (struct mtrie_cover){p->value, p->plen};
			found = true;
		}
	}
	return best;
}

static struct mtrie_cover cover(void *arg, uint32_t root, const uint8_t *addr, uint8_t plen)
{
	struct bench *b = arg;
	uint8_t whole[16] = {0};

	memcpy(whole, addr, b->bits / 8);
	return longest(b, root, whole, plen);
}

/* --- the trie --- */

static struct bench *start(uint8_t bits, uint32_t lines)
{
	struct shm_table_desc tables[] = {
		{"root", 1, sizeof(struct mtrie_root_row), ROOTS},
		{"line", 1, sizeof(struct mtrie_line_row), lines},
	};
	struct bench *b = calloc(1, sizeof(*b));
	struct err err = {0};

	assert_non_null(b);
	snprintf(b->path, sizeof(b->path), "/dev/shm/sluice.test_mtrie.%d", getpid());
	b->bits = bits;
	if (shm_create(&b->fpm.config, b->path, tables, 2, &err))
		fail_msg("%s", err.text);
	unlink(b->path);
	if (mtrie_init(&b->trie, &b->fpm, "root", "line", bits, FALLBACK, &err))
		fail_msg("%s", err.text);
	mtrie4_roots = mtrie6_roots = b->trie.roots;
	mtrie4_lines = mtrie6_lines = b->trie.lines.lines;
	seed = 1;
	return b;
}

static void end(struct bench *b)
{
	fpm_defer_drop(&b->fpm);
	mtrie_close(&b->trie);
	shm_detach(&b->fpm.config);
	free(b);
}

static uint32_t used(const struct bench *b)
{
	return atomic_load(&b->trie.lines.dir->used);
}

static uint32_t lookup(const struct bench *b, uint32_t root, const uint8_t addr[16])
{
	if (b->bits == 128)
		return mtrie6_lookup(root, addr);
	return mtrie4_lookup(root,
			     (uint32_t)addr[0] << 24 | addr[1] << 16 | addr[2] << 8 | addr[3]);
}

static int add(struct bench *b, const struct prefix *p)
{
	assert_true(b->n < PREFIXES);
	b->prefixes[b->n++] = *p;
	return mtrie_add(&b->trie, p->root, p->addr, p->plen, p->value);
}

static void drop(struct bench *b, unsigned i)
{
	struct prefix p = b->prefixes[i];

	b->prefixes[i] = b->prefixes[--b->n];
	mtrie_remove(&b->trie, p.root, p.addr, p.plen, cover, b);
}

static void change(struct bench *b, unsigned i, uint32_t value)
{
	struct prefix *p = &b->prefixes[i];

	p->value = value;
	mtrie_change(&b->trie, p->root, p->addr, p->plen, value);
}

/* Few different bytes, so that prefixes lie in one another; lengths of all kinds, those at block edges more often. */
static struct prefix random_prefix(const struct bench *b)
{
	struct prefix p = {.root = roll() % ROOTS, .value = 100 + roll() % 50};

	if (b->dense) {
		p.addr[0] = 10;
		p.addr[2] = roll();
		p.addr[3] = roll() % 8 ? 0 : roll();
		p.plen = 17 + roll() % 12;
		mask(p.addr, p.plen);
		return p;
	}
	for (unsigned i = 0; i < b->bits / 8U; i++)
		p.addr[i] = (uint8_t[]){0, 1, 0x80, 0xff}[roll() % 4];
	p.plen = roll() % 3 ? roll() % (b->bits + 1) : roll() % (b->bits / 8 + 1) * 8;
	mask(p.addr, p.plen);
	return p;
}

static int find(const struct bench *b, const struct prefix *p)
{
	for (unsigned i = 0; i < b->n; i++)
		if (b->prefixes[i].root == p->root && b->prefixes[i].plen == p->plen &&
		    !memcmp(b->prefixes[i].addr, p->addr, 16))
			return i;
	return -1;
}

/* An address in, just before or just behind some prefix, or anywhere. */
static void random_address(const struct bench *b, uint8_t addr[16])
{
	struct prefix p = b->n && roll() % 4 ? b->prefixes[roll() % b->n] : random_prefix(b);
	unsigned kind = roll() % 4;

	memcpy(addr, p.addr, 16);
	if (kind == 0 || kind == 1) /* the last one, or any in it */
		for (unsigned i = p.plen; i < b->bits; i++)
			if (kind == 0 || roll() % 2)
				addr[i / 8] |= 0x80 >> i % 8;
	if (kind == 2) { /* one before or behind */
		unsigned i = b->bits / 8;
		int step = roll() % 2 ? 1 : -1;

		while (i--) {
			addr[i] += step;
			if (addr[i] != (step > 0 ? 0 : 0xff))
				break;
		}
	}
}

/* Right, or Linux's where @pins are allowed; returns how many were Linux's. */
static unsigned compare(struct bench *b, unsigned n, bool pins)
{
	unsigned fallbacks = 0;

	for (unsigned i = 0; i < n; i++) {
		uint8_t addr[16] = {0};
		uint32_t root = roll() % ROOTS, got, want;

		random_address(b, addr);
		got = lookup(b, root, addr);
		want = longest(b, root, addr, b->bits).value;
		if (pins && got == FALLBACK)
			fallbacks++;
		else
			assert_int_equal(got, want);
	}
	return fallbacks;
}

static void check_empty(const struct bench *b)
{
	static const struct mtrie_root_row zeros;

	assert_int_equal(used(b), 0);
	assert_int_equal(b->trie.n_pins, 0);
	assert_int_equal(b->trie.n_pinned, 0);
	assert_int_equal(b->trie.n_census, 0);
	for (unsigned i = 0; i < ROOTS; i++)
		assert_memory_equal(&b->trie.roots[i], &zeros, sizeof(zeros));
}

static bool is_full(const struct bench *b, uint32_t e)
{
	return e & MTRIE_NODE && !(e & MTRIE_SKIP) && e & MTRIE_FULL;
}

static unsigned churn(struct bench *b, unsigned steps, unsigned most, bool pins)
{
	unsigned fallbacks = 0;

	for (unsigned step = 0; step < steps; step++) {
		struct prefix p = random_prefix(b);
		int at = find(b, &p);
		unsigned kind = roll() % 8;
		int rc = 0;

		if (at >= 0 && kind < 4)
			drop(b, at);
		else if (at >= 0)
			change(b, at, p.value);
		else if (b->n < most)
			rc = add(b, &p);
		else
			drop(b, roll() % b->n);
		assert_true(rc == 0 || (pins && rc == -ENOSPC));
		fallbacks += compare(b, 8, pins);
		if (is_full(b, b->trie.roots[0].entry[10 << 8]))
			b->was_full = true;
		if (step % 512 == 0)
			while (b->n > most / 4)
				drop(b, roll() % b->n);
	}
	while (b->n)
		drop(b, roll() % b->n);
	check_empty(b);
	return fallbacks;
}

static void test_ipv4_lookups_agree_with_a_naive_table(void **state)
{
	struct bench *b = start(32, 4096);

	churn(b, 6000, 200, false);
	end(b);
}

static void test_ipv6_lookups_agree_with_a_naive_table(void **state)
{
	struct bench *b = start(128, 16384);

	churn(b, 2500, 200, false);
	end(b);
}

static void test_lookups_agree_where_prefixes_lie_side_by_side(void **state)
{
	for (unsigned bits = 32; bits <= 128; bits += 96) {
		struct bench *b = start(bits, 4096);

		b->dense = true;
		churn(b, 8000, 500, false);
		assert_true(b->was_full);
		end(b);
	}
}

static void test_a_full_ipv4_trie_is_right_or_linux_s(void **state)
{
	struct bench *b = start(32, 12);

	assert_true(churn(b, 6000, 200, true) > 0);
	end(b);
}

static void test_a_full_ipv6_trie_is_right_or_linux_s(void **state)
{
	struct bench *b = start(128, 40);

	assert_true(churn(b, 2500, 200, true) > 0);
	end(b);
}

/* --- single cases --- */

static struct prefix prefix4(uint32_t addr, uint8_t plen, uint32_t value)
{
	struct prefix p = {.plen = plen, .value = value};

	p.addr[0] = addr >> 24;
	p.addr[1] = addr >> 16;
	p.addr[2] = addr >> 8;
	p.addr[3] = addr;
	return p;
}

static void test_a_removed_prefix_uncovers_the_one_beneath(void **state)
{
	struct bench *b = start(32, 64);
	struct prefix p[] = {
		prefix4(0, 0, 10),	     prefix4(0x0a000000, 8, 11),
		prefix4(0x0a010000, 16, 12), prefix4(0x0a010200, 24, 13),
		prefix4(0x0a010203, 32, 14),
	};

	for (unsigned i = 0; i < 5; i++)
		add(b, &p[i]);
	for (int i = 4; i >= 0; i--) {
		assert_int_equal(mtrie4_lookup(0, 0x0a010203), 10 + i);
		drop(b, find(b, &p[i]));
	}
	assert_int_equal(mtrie4_lookup(0, 0x0a010203), 0);
	check_empty(b);
	end(b);
}

static void test_the_order_of_adding_leaves_no_trace(void **state)
{
	struct bench *b = start(32, 64);
	struct prefix p[] = {
		prefix4(0x0a010203, 32, 14), prefix4(0x0a010200, 24, 13),
		prefix4(0x0a010280, 25, 15), prefix4(0x0a000000, 8, 11),
		prefix4(0, 0, 10),
	};

	for (unsigned first = 0; first < 5; first++) {
		for (unsigned i = 0; i < 5; i++)
			add(b, &p[(first + i) % 5]);
		assert_int_equal(mtrie4_lookup(0, 0x0a010203), 14);
		assert_int_equal(mtrie4_lookup(0, 0x0a010204), 13);
		assert_int_equal(mtrie4_lookup(0, 0x0a0102ff), 15);
		assert_int_equal(mtrie4_lookup(0, 0x0a0103ff), 11);
		assert_int_equal(mtrie4_lookup(0, 0x0b000000), 10);
		assert_int_equal(mtrie4_lookup(1, 0x0a010203), 0);
		assert_int_equal(used(b), 2);
		while (b->n)
			drop(b, roll() % b->n);
		check_empty(b);
	}
	end(b);
}

static void test_two_halves_with_one_value_stay_two(void **state)
{
	struct bench *b = start(32, 64);
	struct prefix low = prefix4(0x0a010200, 25, 14), high = prefix4(0x0a010280, 25, 14);
	struct prefix host = prefix4(0x0a010203, 32, 15);

	add(b, &low);
	add(b, &high);
	add(b, &host);
	drop(b, find(b, &host));
	drop(b, find(b, &high));
	assert_int_equal(mtrie4_lookup(0, 0x0a010203), 14);
	assert_int_equal(mtrie4_lookup(0, 0x0a010283), 0);
	drop(b, find(b, &low));
	check_empty(b);
	end(b);
}

static void test_without_lines_the_range_goes_to_linux_until_room_is_made(void **state)
{
	struct bench *b = start(32, 9); /* eight, of which one is kept */
	struct prefix covering = prefix4(0x0a000000, 8, 11), p[8], beside;

	assert_int_equal(add(b, &covering), 0);
	for (unsigned i = 0; i < 8; i++) {
		p[i] = prefix4(0x0a010200 + (i << 16), 24, 20 + i);
		assert_int_equal(add(b, &p[i]), i < 7 ? 0 : -ENOSPC);
	}
	beside = prefix4(0x0a080300, 24, 30);
	assert_int_equal(add(b, &beside), -ENOSPC);
	assert_int_equal(b->trie.n_pins, 1);
	assert_int_equal(mtrie_pinned(&b->trie), 2);
	assert_int_equal(mtrie4_lookup(0, 0x0a010201), 20);
	assert_int_equal(mtrie4_lookup(0, 0x0a080201), FALLBACK);
	assert_int_equal(mtrie4_lookup(0, 0x0a08ffff), FALLBACK);
	assert_int_equal(mtrie4_lookup(0, 0x0a090000), 11);
	assert_false(mtrie_room(&b->trie, 1));

	/* What was changed meanwhile isn't lost. */
	change(b, find(b, &p[7]), 29);
	for (unsigned i = 0; i < 7; i++)
		drop(b, find(b, &p[i]));
	assert_true(mtrie_room(&b->trie, 1));
	assert_int_equal(mtrie4_lookup(0, 0x0a080201), FALLBACK);
	mtrie_unpin(&b->trie, cover, b);
	assert_int_equal(mtrie4_lookup(0, 0x0a080201), 11);
	change(b, find(b, &p[7]), 29);
	change(b, find(b, &beside), 30);
	assert_int_equal(mtrie4_lookup(0, 0x0a080201), 29);
	assert_int_equal(mtrie4_lookup(0, 0x0a080301), 30);
	assert_int_equal(mtrie4_lookup(0, 0x0a080401), 11);
	while (b->n)
		drop(b, 0);
	check_empty(b);
	end(b);
}

/* --- memory --- */

/* Prefixes of these lengths, a share in 1000 each; adds up to 1000. */
struct share {
	uint8_t plen;
	uint16_t share;
};

/* What the default-free zone has, near enough (potaroo.net and RIPE RIS, 2024): more than half /24, a third to a half /48. */
static const struct share internet4[] = {
	{24, 600}, {23, 100}, {22, 115}, {21, 50}, {20, 45}, {19, 27}, {18, 15}, {17, 10}, {16, 14},
	{15, 4},   {14, 4},   {13, 2},	 {12, 1},  {11, 1},  {10, 1},  {9, 1},	 {25, 4},  {32, 6},
};
static const struct share internet6[] = {
	{48, 460}, {47, 25}, {46, 30}, {45, 20},  {44, 95}, {42, 30}, {40, 90}, {38, 10}, {36, 40},
	{35, 5},   {34, 10}, {33, 20}, {32, 120}, {31, 2},  {30, 8},  {29, 30}, {28, 5},
};
static const struct share scattered24[] = {{24, 1000}}, scattered48[] = {{48, 1000}};
static const struct share scattered64[] = {{64, 1000}}, scattered128[] = {{128, 1000}};

/* @networks: 0, or how many /32 (IPv6) and /12 (IPv4) the prefixes lie in. Returns the memory of the trie, bytes. */
static uint64_t memory(uint8_t bits, unsigned n, const struct share *shares, unsigned networks)
{
	struct bench *b = start(bits, 1 << 20);
	uint64_t bytes;

	for (unsigned i = 0; i < n; i++) {
		struct prefix p = {.value = 100 + roll() % 64};
		const struct share *s = shares;
		uint64_t high = roll(), low = roll(), which;

		for (int left = (int)(roll() % 1000) - s->share; left >= 0; left -= s->share)
			s++;
		if (networks) {
			which = (roll() % networks) * 0x9e3779b97f4a7c15ULL;
			if (bits == 32)
				high = (high & ~(0xfffULL << 52)) | (which >> 52 << 52);
			else
				high = (uint32_t)high | which >> 32 << 32;
		}
		if (bits == 128)
			high = 1ULL << 61 | high >> 3; /* 2000::/3 */
		for (unsigned k = 0; k < 8; k++) {
			p.addr[k] = (uint8_t)(high >> (56 - 8 * k));
			p.addr[8 + k] = (uint8_t)(low >> (56 - 8 * k));
		}
		p.plen = s->plen;
		mask(p.addr, p.plen);
		/* Some twice: that counts twice and changes the value. */
		assert_int_equal(mtrie_add(&b->trie, 0, p.addr, p.plen, p.value), 0);
	}
	bytes = used(b) * sizeof(struct mtrie_line_row);
	print_message("%u prefixes of %u bits: %.1f MiB\n", n, bits, (double)bytes / (1 << 20));
	end(b);
	return bytes;
}

#define MIB (1 << 20)

static void test_a_million_ipv4_routes_take_little_memory(void **state)
{
	assert_in_range(memory(32, 1000000, internet4, 0), 0, 24 * MIB);
	assert_in_range(memory(32, 1000000, scattered24, 0), 0, 24 * MIB);
}

static void test_two_hundred_thousand_ipv6_routes_take_little_memory(void **state)
{
	assert_in_range(memory(128, 200000, internet6, 20000), 0, 24 * MIB);
	assert_in_range(memory(128, 200000, scattered48, 0), 0, 24 * MIB);
	assert_in_range(memory(128, 200000, scattered64, 0), 0, 24 * MIB);
	assert_in_range(memory(128, 200000, scattered128, 20000), 0, 24 * MIB);
}

/* --- readers at the same time --- */

#define READERS 2
#define POOL	64

struct race {
	struct worker_row workers[WORKERS_MAX];
	struct prefix pool[POOL]; /* value: 1000 and the index */
	_Atomic bool stop;
	_Atomic uint64_t lookups;
	struct bench *bench;
};

static struct race race;

/* Whatever the writer does, the answer is a prefix over the address, and never less than the /8 that stays. */
static void *reader(void *arg)
{
	struct worker_row *me = arg;
	uint64_t state = (uintptr_t)arg, n = 0;

	quiesce_online(me);
	while (!atomic_load_explicit(&race.stop, memory_order_relaxed)) {
		const struct prefix *p;
		uint32_t got;

		state = state * 6364136223846793005ULL + 1442695040888963407ULL;
		p = &race.pool[state >> 33 & (POOL - 1)];
		got = lookup(race.bench, 0, p->addr);
		if (got < 1000 || got >= 1000 + POOL || !covers(&race.pool[got - 1000], p->addr)) {
			print_error("address %u.%u.%u.%u got value %u\n", p->addr[0], p->addr[1],
				    p->addr[2], p->addr[3], got);
			abort();
		}
		n++;
		quiesce_point(me);
	}
	quiesce_offline(me);
	atomic_fetch_add(&race.lookups, n);
	return NULL;
}

static double seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec + now.tv_nsec / 1e9;
}

/* As many steps, or what a slow machine gets done in some seconds. */
static void run_race(uint8_t bits, unsigned steps)
{
	double until = seconds() + 2;
	struct bench *b = start(bits, 512);
	pthread_t threads[READERS];

	memset(&race, 0, sizeof(race));
	race.bench = b;
	b->fpm.published = true;
	b->fpm.workers = race.workers;
	for (unsigned i = 0; i < POOL; i++) {
		struct prefix *p = &race.pool[i];

		do {
			*p = random_prefix(b);
			p->root = 0;
			p->addr[0] = 10;
			if (p->plen < 8)
				p->plen = 8;
			if (!i)
				p->plen = 8;
			mask(p->addr, p->plen);
		} while (i && find(b, p) >= 0);
		p->value = 1000 + i;
		add(b, p);
	}
	for (unsigned i = 0; i < READERS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, reader, &race.workers[i]), 0);
	for (unsigned step = 0; step < steps && (step < steps / 20 || seconds() < until); step++) {
		const struct prefix *p = &race.pool[1 + roll() % (POOL - 1)];
		int at = find(b, p);

		if (at >= 0)
			drop(b, at);
		else
			assert_true(add(b, p) == 0 || b->trie.n_pins);
		/* A pin's fallback isn't what the readers expect: there must be room. */
		assert_int_equal(b->trie.n_pins, 0);
		fpm_defer_work(&b->fpm);
		while (used(b) > 400) {
			fpm_defer_work(&b->fpm);
			sched_yield(); /* readers without a CPU hold up the reuse */
		}
	}
	atomic_store(&race.stop, true);
	for (unsigned i = 0; i < READERS; i++)
		pthread_join(threads[i], NULL);
	assert_true(race.lookups > 0);
	end(b);
}

static void test_ipv4_readers_never_see_a_block_that_is_being_reused(void **state)
{
	run_race(32, 100000);
}

static void test_ipv6_readers_never_see_a_block_that_is_being_reused(void **state)
{
	run_race(128, 30000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_removed_prefix_uncovers_the_one_beneath),
		cmocka_unit_test(test_the_order_of_adding_leaves_no_trace),
		cmocka_unit_test(test_two_halves_with_one_value_stay_two),
		cmocka_unit_test(test_without_lines_the_range_goes_to_linux_until_room_is_made),
		cmocka_unit_test(test_ipv4_lookups_agree_with_a_naive_table),
		cmocka_unit_test(test_ipv6_lookups_agree_with_a_naive_table),
		cmocka_unit_test(test_lookups_agree_where_prefixes_lie_side_by_side),
		cmocka_unit_test(test_a_full_ipv4_trie_is_right_or_linux_s),
		cmocka_unit_test(test_a_full_ipv6_trie_is_right_or_linux_s),
		cmocka_unit_test(test_a_million_ipv4_routes_take_little_memory),
		cmocka_unit_test(test_two_hundred_thousand_ipv6_routes_take_little_memory),
		cmocka_unit_test(test_ipv4_readers_never_see_a_block_that_is_being_reused),
		cmocka_unit_test(test_ipv6_readers_never_see_a_block_that_is_being_reused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
