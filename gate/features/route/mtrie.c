// SPDX-License-Identifier: BSD-3-Clause
/* A slot is an entry of the root (16 bits deep) or of a block (8 more each). All changes are stores of single entries. A
 * block is filled before the entry that leads to it is stored, and given back through fpm_defer once that entry is a leaf
 * again. A block whose 256 entries have become one and the same leaf, put there by a prefix no longer than the block's own
 * slot, is collapsed into that leaf; so the trie's shape depends only on the prefixes in it.
 *
 * While a slot is pinned its leaf says plen PINNED, which no prefix has. No prefix longer than the slot is in the trie then,
 * and none can get in: they're only counted, and when the count reaches zero the slot gets back what covers it. */
#include "features/route/mtrie.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PINNED	  0xff
#define ROOT_BITS 16
#define DEPTH_MAX 15 /* IPv6: root and 14 blocks */

struct mtrie_pin {
	struct mtrie_pin *next;
	uint32_t root;
	uint32_t count; /* prefixes longer than the slot in it */
	uint8_t bits;	/* the slot's prefix length */
	uint8_t addr[16];
};

static uint32_t leaf(uint8_t plen, uint32_t value)
{
	return (uint32_t)plen << 23 | value;
}

static uint32_t load(const mtrie_entry *e)
{
	return atomic_load_explicit(e, memory_order_relaxed);
}

static void store(mtrie_entry *e, uint32_t value)
{
	atomic_store_explicit(e, value, memory_order_release);
}

static bool is_block(uint32_t e)
{
	return e & MTRIE_BLOCK;
}

static mtrie_entry *block_of(const struct mtrie *t, uint32_t e)
{
	return t->blocks[e & MTRIE_VALUE].entry;
}

/* --- pins --- */

static struct mtrie_pin **pin_at(const struct mtrie *t, uint32_t root, const uint8_t *addr,
				 uint8_t bits)
{
	uint8_t slot[16] = {0};
	uint64_t hash = root * 131U + bits;
	struct mtrie_pin **at;

	memcpy(slot, addr, bits / 8);
	for (unsigned i = 0; i < bits / 8U; i++)
		hash = (hash ^ slot[i]) * 0x100000001b3ULL;
	at = &t->pins[(hash ^ hash >> 32) & t->pin_mask];
	while (*at && ((*at)->root != root || (*at)->bits != bits ||
		       memcmp((*at)->addr, slot, sizeof(slot)) != 0))
		at = &(*at)->next;
	return at;
}

static int pin(struct mtrie *t, mtrie_entry *slot, uint32_t root, const uint8_t *addr, uint8_t bits)
{
	struct mtrie_pin *p = calloc(1, sizeof(*p));

	if (!p)
		return -ENOMEM;
	p->root = root;
	p->bits = bits;
	p->count = 1;
	memcpy(p->addr, addr, bits / 8);
	*pin_at(t, root, addr, bits) = p;
	t->n_pins++;
	store(slot, leaf(PINNED, t->fallback));
	return -ENOSPC;
}

static void unpin_one(struct mtrie *t, mtrie_entry *slot, uint32_t root, const uint8_t *addr,
		      uint8_t bits, mtrie_cover_fn *cover, void *arg)
{
	struct mtrie_pin **at = pin_at(t, root, addr, bits);
	struct mtrie_pin *p = *at;
	struct mtrie_cover beneath;

	if (--p->count)
		return;
	beneath = cover(arg, root, addr, bits);
	store(slot, leaf(beneath.plen, beneath.value));
	*at = p->next;
	free(p);
	t->n_pins--;
}

/* --- blocks --- */

/* Puts a block of 256 copies of the leaf @e behind @slot; false: no block left. */
static bool split(struct mtrie *t, mtrie_entry *slot, uint32_t e)
{
	uint32_t number = fpm_rows_get(&t->rows);

	if (!number)
		return false;
	for (unsigned i = 0; i < 256; i++)
		atomic_store_explicit(&t->blocks[number].entry[i], e, memory_order_relaxed);
	store(slot, MTRIE_BLOCK | number);
	return true;
}

/* Replaces the block behind @slot, which is @bits deep, by a leaf, if all of it has become the same; tells whether. */
static bool collapse(struct mtrie *t, mtrie_entry *slot, uint8_t bits)
{
	uint32_t e = load(slot);
	const mtrie_entry *entry = block_of(t, e);
	uint32_t first = load(&entry[0]);

	if (is_block(first) || MTRIE_PLEN(first) > bits)
		return false;
	for (unsigned i = 1; i < 256; i++)
		if (load(&entry[i]) != first)
			return false;
	store(slot, first);
	fpm_rows_put_later(&t->rows, e & MTRIE_VALUE);
	return true;
}

/* --- walks --- */

/* The slots on the way down to a prefix. */
struct path {
	mtrie_entry *slot[DEPTH_MAX]; /* slot[i] is 16 + 8 * i bits deep */
	unsigned depth;		      /* of the last one */
};

static uint8_t slot_bits(unsigned depth)
{
	return ROOT_BITS + 8 * depth;
}

static mtrie_entry *root_slot(const struct mtrie *t, uint32_t root, const uint8_t *addr)
{
	return &t->roots[root].entry[(uint32_t)addr[0] << 8 | addr[1]];
}

/* Follows @addr down while prefixes of @plen bits lie deeper and blocks are there. */
static struct path descend(const struct mtrie *t, uint32_t root, const uint8_t *addr, uint8_t plen)
{
	struct path p = {.slot[0] = root_slot(t, root, addr)};

	while (plen > slot_bits(p.depth) && is_block(load(p.slot[p.depth]))) {
		p.slot[p.depth + 1] =
			&block_of(t, load(p.slot[p.depth]))[addr[slot_bits(p.depth) / 8]];
		p.depth++;
	}
	return p;
}

static bool is_pinned(const mtrie_entry *slot)
{
	uint32_t e = load(slot);

	return !is_block(e) && MTRIE_PLEN(e) == PINNED;
}

/* Stores the leaf in @n slots from @slot and in what is below, wherever no longer prefix stands. */
static void fill(struct mtrie *t, mtrie_entry *slot, unsigned n, uint8_t plen, uint32_t e)
{
	for (unsigned i = 0; i < n; i++) {
		uint32_t now = load(&slot[i]);

		if (is_block(now))
			fill(t, block_of(t, now), 256, plen, e);
		else if (MTRIE_PLEN(now) <= plen)
			store(&slot[i], e);
	}
}

/* Where @from put the leaf in @n slots from @slot and below, stores @e instead; blocks that become uniform go. */
static void replace(struct mtrie *t, mtrie_entry *slot, unsigned n, uint8_t bits, uint8_t from,
		    uint32_t e)
{
	for (unsigned i = 0; i < n; i++) {
		uint32_t now = load(&slot[i]);

		if (is_block(now)) {
			replace(t, block_of(t, now), 256, bits + 8, from, e);
			collapse(t, &slot[i], bits);
		} else if (MTRIE_PLEN(now) == from) {
			store(&slot[i], e);
		}
	}
}

/* The slots that a prefix of @plen bits, ending @bits deep or less, covers around @slot. */
static mtrie_entry *covered(mtrie_entry *slot, uint8_t bits, uint8_t plen, unsigned *ret_n)
{
	*ret_n = 1U << (bits - plen);
	/* Its bits beyond plen are zero, so the slot of its address is the first. */
	return slot;
}

int mtrie_add(struct mtrie *t, uint32_t root, const uint8_t *addr, uint8_t plen, uint32_t value)
{
	struct path p = descend(t, root, addr, plen);
	mtrie_entry *slot = p.slot[p.depth];
	unsigned n;

	while (plen > slot_bits(p.depth)) {
		uint8_t bits = slot_bits(p.depth);

		if (is_pinned(slot)) {
			(*pin_at(t, root, addr, bits))->count++;
			return -ENOSPC;
		}
		if (!split(t, slot, load(slot)))
			return pin(t, slot, root, addr, bits);
		slot = &block_of(t, load(slot))[addr[bits / 8]];
		p.slot[++p.depth] = slot;
	}
	slot = covered(slot, slot_bits(p.depth), plen, &n);
	fill(t, slot, n, plen, leaf(plen, value));
	return 0;
}

void mtrie_change(struct mtrie *t, uint32_t root, const uint8_t *addr, uint8_t plen, uint32_t value)
{
	struct path p = descend(t, root, addr, plen);
	unsigned n;

	if (plen > slot_bits(p.depth))
		return; /* under a pinned slot */
	mtrie_entry *slot = covered(p.slot[p.depth], slot_bits(p.depth), plen, &n);

	fill(t, slot, n, plen, leaf(plen, value));
}

void mtrie_remove(struct mtrie *t, uint32_t root, const uint8_t *addr, uint8_t plen,
		  mtrie_cover_fn *cover, void *arg)
{
	struct path p = descend(t, root, addr, plen);
	uint8_t bits = slot_bits(p.depth);
	mtrie_entry *slot = p.slot[p.depth];

	if (plen > bits) {
		unpin_one(t, slot, root, addr, bits, cover, arg);
	} else {
		struct mtrie_cover beneath = {0};
		unsigned n;

		if (plen)
			beneath = cover(arg, root, addr, plen - 1);
		slot = covered(slot, bits, plen, &n);
		replace(t, slot, n, bits, plen, leaf(beneath.plen, beneath.value));
	}
	while (p.depth--)
		if (!collapse(t, p.slot[p.depth], slot_bits(p.depth)))
			break;
}

bool mtrie_room(const struct mtrie *t, uint32_t root, const uint8_t *addr, uint8_t plen)
{
	uint32_t used = atomic_load_explicit(&t->rows.dir->used, memory_order_relaxed);
	struct path p = descend(t, root, addr, plen);

	return used + 1 + (plen - slot_bits(p.depth) + 7) / 8 <= t->rows.dir->capacity;
}

/* --- */

int mtrie_init(struct mtrie *t, struct fpm *fpm, const char *root_table, const char *block_table,
	       uint8_t bits, uint32_t fallback, struct err *err)
{
	int rc;

	mtrie_close(t);
	rc = fpm_rows_init(&t->rows, fpm, block_table, err);
	if (rc)
		return rc;
	t->roots = shm_rows(&fpm->config, root_table);
	t->blocks = (struct mtrie_block_row *)t->rows.rows;
	t->bits = bits;
	t->fallback = fallback;
	t->pin_mask = 4095;
	t->pins = calloc(t->pin_mask + 1, sizeof(*t->pins));
	if (!t->roots || !t->pins)
		return err_set(err, ENOMEM, "no memory or table for '%s'", root_table);
	return 0;
}

void mtrie_close(struct mtrie *t)
{
	for (uint32_t i = 0; t->pins && i <= t->pin_mask; i++)
		while (t->pins[i]) {
			struct mtrie_pin *p = t->pins[i];

			t->pins[i] = p->next;
			free(p);
		}
	free(t->pins);
	t->pins = NULL;
	t->n_pins = 0;
}
