// SPDX-License-Identifier: BSD-3-Clause
/* Prefixes go in and out (mtrie_edit.c does it), and ranges are pinned while lines are missing. For that it's counted how many
 * prefixes lie in each range that may be pinned. */
#include "features/route/mtrie.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "features/route/mtrie_edit.h"
#include "fpmd/pool.h"

#define CENSUS 65536

static mtrie_entry *root_slot(const struct mtrie *t, uint32_t root, const uint8_t *addr)
{
	return &t->roots[root].entry[(uint32_t)addr[0] << 8 | addr[1]];
}

static struct mtrie_edit edit_of(const struct mtrie *t, enum mtrie_edit_kind kind,
				 const uint8_t *addr, uint8_t plen, uint32_t to)
{
	struct mtrie_edit ed = {.kind = kind, .plen = plen, .kept = true, .leaf = to};

	memcpy(ed.addr, addr, t->bits / 8);
	return ed;
}

/* --- ranges that can be pinned --- */

struct mtrie_census {
	struct mtrie_census *next;
	uint32_t root;
	uint32_t count; /* prefixes longer than the range in it */
	uint8_t addr[4];
	uint8_t bits;
	bool pinned;
	uint8_t pad[2];
};
static_assert(sizeof(struct mtrie_census) == 24);

static struct mtrie_census **census_at(const struct mtrie *t, uint32_t root, const uint8_t *addr,
				       uint8_t bits)
{
	struct mtrie_census **at;
	uint8_t range[4] = {0};
	uint32_t word;
	uint64_t hash;

	memcpy(range, addr, bits / 8);
	memcpy(&word, range, 4);
	hash = ((uint64_t)root << 40 ^ (uint64_t)bits << 32 ^ word) * 0x9e3779b97f4a7c15ULL;
	at = &t->census[hash >> 48];
	while (*at && ((*at)->root != root || (*at)->bits != bits ||
		       memcmp((*at)->addr, range, sizeof(range)) != 0))
		at = &(*at)->next;
	return at;
}
static_assert(CENSUS == 1 << 16);

/* The ranges over a prefix, from the narrowest: 32 (IPv6) and 16 bits; 0: no more. */
static uint8_t next_range(const struct mtrie *t, uint8_t bits)
{
	return t->bits == 128 && bits > 32 ? 32 : bits > MTRIE_ROOT_BITS ? MTRIE_ROOT_BITS : 0;
}

static bool count_in(struct mtrie *t, uint32_t root, const uint8_t *addr, uint8_t plen)
{
	for (uint8_t bits = next_range(t, plen); bits; bits = next_range(t, bits)) {
		struct mtrie_census **at = census_at(t, root, addr, bits);

		if (!*at) {
			struct mtrie_census *c = pool_get(sizeof(*c));

			if (!c)
				return false;
			*c = (struct mtrie_census){.root = root, .bits = bits};
			memcpy(c->addr, addr, bits / 8);
			*at = c;
			t->n_census++;
		}
		(*at)->count++;
		t->n_pinned += (*at)->pinned;
	}
	return true;
}

static bool is_pinned(const struct mtrie *t, uint32_t root, const uint8_t *addr, uint8_t plen)
{
	if (!t->n_pins)
		return false;
	for (uint8_t bits = next_range(t, plen); bits; bits = next_range(t, bits)) {
		const struct mtrie_census *c = *census_at(t, root, addr, bits);

		if (c && c->pinned)
			return true;
	}
	return false;
}

/* All of a range reads as @to. False: no memory, which can't be for a slot of the root. */
static bool force(struct mtrie *t, uint32_t root, const uint8_t *addr, uint8_t bits, uint32_t to)
{
	struct mtrie_edit ed = edit_of(t, MTRIE_EDIT_FORCE, addr, bits, to);

	return mtrie_edit_slot(t, root_slot(t, root, addr), &ed);
}

/* The narrowest range that has room for it. */
static void pin(struct mtrie *t, uint32_t root, const uint8_t *addr, uint8_t plen)
{
	for (uint8_t bits = next_range(t, plen); bits; bits = next_range(t, bits)) {
		struct mtrie_census *c = *census_at(t, root, addr, bits);

		if (!force(t, root, addr, bits, mtrie_leaf(MTRIE_PINNED, t->fallback)))
			continue;
		c->pinned = true;
		t->n_pins++;
		t->n_pinned += c->count;
		return;
	}
}

/* A pinned range reads as what covers it. */
static void unpin(struct mtrie *t, struct mtrie_census *c, mtrie_cover_fn *cover, void *arg)
{
	uint8_t addr[16] = {0};
	struct mtrie_cover beneath;
	const struct mtrie_census *wider;

	memcpy(addr, c->addr, sizeof(c->addr));
	c->pinned = false;
	t->n_pins--;
	t->n_pinned -= c->count;
	wider = c->bits > MTRIE_ROOT_BITS ? *census_at(t, c->root, addr, MTRIE_ROOT_BITS) : NULL;
	if (wider && wider->pinned)
		return;
	beneath = cover(arg, c->root, addr, c->bits);
	if (!force(t, c->root, addr, c->bits, mtrie_leaf(beneath.plen, beneath.value)))
		pin(t, c->root, addr, c->bits);
}

static void count_out(struct mtrie *t, uint32_t root, const uint8_t *addr, uint8_t plen,
		      mtrie_cover_fn *cover, void *arg)
{
	for (uint8_t bits = next_range(t, plen); bits; bits = next_range(t, bits)) {
		struct mtrie_census *c = *census_at(t, root, addr, bits);

		c->count--;
		t->n_pinned -= c->pinned;
		if (c->count)
			continue;
		if (c->pinned)
			unpin(t, c, cover, arg);
		*census_at(t, root, addr, bits) = c->next;
		pool_put(c, sizeof(*c));
		t->n_census--;
	}
}

/* --- */

/* In all slots of the root that the prefix touches; a range where memory is missing is pinned. */
static int apply(struct mtrie *t, struct mtrie_edit *ed, uint32_t root)
{
	mtrie_entry *slot = root_slot(t, root, ed->addr);
	unsigned n = ed->plen < MTRIE_ROOT_BITS ? 1U << (MTRIE_ROOT_BITS - ed->plen) : 1;

	if (is_pinned(t, root, ed->addr, ed->plen))
		return -ENOSPC;
	for (unsigned i = 0; i < n; i++)
		if (!mtrie_edit_slot(t, &slot[i], ed)) {
			pin(t, root, ed->addr, ed->plen); /* longer than the root is deep */
			return -ENOSPC;
		}
	return 0;
}

int mtrie_add(struct mtrie *t, uint32_t root, const uint8_t *addr, uint8_t plen, uint32_t value)
{
	struct mtrie_edit ed = edit_of(t, MTRIE_EDIT_FILL, addr, plen, mtrie_leaf(plen, value));

	if (!count_in(t, root, addr, plen))
		return -ENOMEM;
	/* Prefixes that no narrower range lies around than the widest may have what is kept. */
	ed.kept = t->bits == 128 && plen <= 32;
	return apply(t, &ed, root);
}

int mtrie_change(struct mtrie *t, uint32_t root, const uint8_t *addr, uint8_t plen, uint32_t value)
{
	struct mtrie_edit ed = edit_of(t, MTRIE_EDIT_FILL, addr, plen, mtrie_leaf(plen, value));

	return apply(t, &ed, root);
}

void mtrie_remove(struct mtrie *t, uint32_t root, const uint8_t *addr, uint8_t plen,
		  mtrie_cover_fn *cover, void *arg)
{
	struct mtrie_cover beneath = {0};
	struct mtrie_edit ed;

	if (plen)
		beneath = cover(arg, root, addr, plen - 1);
	ed = edit_of(t, MTRIE_EDIT_REPLACE, addr, plen, mtrie_leaf(beneath.plen, beneath.value));
	apply(t, &ed, root);
	count_out(t, root, addr, plen, cover, arg);
}

bool mtrie_room(const struct mtrie *t, uint32_t n)
{
	/* A prefix takes a line or two, or makes a node grow by some. */
	return mtrie_lines_left(&t->lines) >= mtrie_edit_kept(t) + 4ULL * n;
}

uint32_t mtrie_pinned(const struct mtrie *t)
{
	return t->n_pinned;
}

void mtrie_unpin(struct mtrie *t, mtrie_cover_fn *cover, void *arg)
{
	/* The widest first: what lies in them is gone. */
	for (uint8_t bits = MTRIE_ROOT_BITS; bits <= 32; bits += 16)
		for (uint32_t i = 0; i < CENSUS && t->n_pins; i++)
			for (struct mtrie_census *c = t->census[i]; c; c = c->next)
				if (c->pinned && c->bits == bits)
					unpin(t, c, cover, arg);
}

/* --- */

int mtrie_init(struct mtrie *t, struct fpm *fpm, const char *root_table, const char *line_table,
	       uint8_t bits, uint32_t fallback, struct err *err)
{
	int rc;

	mtrie_close(t);
	rc = mtrie_lines_init(&t->lines, fpm, line_table, err);
	if (rc)
		return rc;
	t->roots = shm_rows(&fpm->config, root_table);
	t->bits = bits;
	t->fallback = fallback;
	t->census = calloc(CENSUS, sizeof(struct mtrie_census *));
	if (!t->roots || !t->census)
		return err_set(err, ENOMEM, "no memory or table for '%s'", root_table);
	return 0;
}

void mtrie_close(struct mtrie *t)
{
	for (uint32_t i = 0; t->census && i < CENSUS; i++)
		while (t->census[i]) {
			struct mtrie_census *c = t->census[i];

			t->census[i] = c->next;
			pool_put(c, sizeof(*c));
		}
	free(t->census);
	t->census = NULL;
	t->n_census = t->n_pins = t->n_pinned = 0;
	mtrie_lines_fini(&t->lines);
}
