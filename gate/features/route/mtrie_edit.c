// SPDX-License-Identifier: BSD-3-Clause
/* How a prefix gets in and out. edit() walks down to where the prefix ends and comes back with the entry that belongs in the
 * slot it was given; on its way it reads each node as runs of equal entries, whatever the node's form, and writes it anew only
 * if it gets other runs. All that is new hangs together before a single store links it, so a reader sees the trie before or
 * after; and when a piece of memory is missing half-way, what is new is given back and nothing has happened.
 *
 *   a slot that the prefix covers wholly   its leaves are changed in place, which needs no memory and keeps the runs: in
 *                                          such a slot all leaves that change are equal, and none becomes like its neighbour
 *   a node in which the prefix ends        in place if the runs stay, else a new node
 *   nodes above it                         one store where the way goes on, if that is still a node; else a new one too
 *
 * A node whose entries have become one leaf, put there by a prefix no longer than the node's own slot, becomes that leaf. So
 * the trie's shape depends on the prefixes in it, not on their history. */
#include "features/route/mtrie_edit.h"

#include <string.h>

#define FAILED UINT32_MAX
/* A full node is written as runs again when it has no more than this, so that it doesn't change to and fro. */
#define FULL_LEAST 96

static uint32_t load(const mtrie_entry *e)
{
	return atomic_load_explicit(e, memory_order_relaxed);
}

static void store(mtrie_entry *e, uint32_t value)
{
	atomic_store_explicit(e, value, memory_order_release);
}

static bool is_node(uint32_t e)
{
	return e & MTRIE_NODE;
}

static bool is_skip(uint32_t e)
{
	return is_node(e) && e & MTRIE_SKIP;
}

static struct mtrie_line_row *line_of(const struct mtrie *t, uint32_t e)
{
	return &t->lines.lines[e & MTRIE_LINE];
}

static struct mtrie_skip *skip_of(const struct mtrie *t, uint32_t e)
{
	return (struct mtrie_skip *)(void *)line_of(t, e);
}

static struct mtrie_runs *runs_of(const struct mtrie *t, uint32_t e)
{
	return (struct mtrie_runs *)(void *)line_of(t, e);
}

static unsigned count_runs(const struct mtrie_runs *r)
{
	return r->before[3] + (unsigned)__builtin_popcountll(r->starts[3]);
}

static void count_before(struct mtrie_runs *r)
{
	r->before[0] = 0;
	for (unsigned word = 0; word < 3; word++)
		r->before[word + 1] =
			(uint8_t)(r->before[word] + __builtin_popcountll(r->starts[word]));
}

static unsigned order_for(unsigned n_runs)
{
	unsigned order = 0;

	while ((64U << order) < offsetof(struct mtrie_runs, entry) + 4 * n_runs)
		order++;
	return order;
}

static unsigned order_of(const struct mtrie *t, uint32_t e)
{
	if (e & MTRIE_SKIP)
		return 0;
	return e & MTRIE_FULL ? MTRIE_ORDERS - 1 : order_for(count_runs(runs_of(t, e)));
}

static void put(struct mtrie *t, uint32_t e)
{
	mtrie_lines_put_later(&t->lines, e & MTRIE_LINE, order_of(t, e));
}

/* The first entry of a node that is stored as runs or full, and how many there are. */
static mtrie_entry *entries_of(const struct mtrie *t, uint32_t e, unsigned *ret_n)
{
	if (e & MTRIE_FULL) {
		*ret_n = 256;
		return line_of(t, e)->entry;
	}
	*ret_n = count_runs(runs_of(t, e));
	return runs_of(t, e)->entry;
}

/* Gives back the node and all below it. */
static void put_all(struct mtrie *t, uint32_t e)
{
	mtrie_entry *entry;
	unsigned n;

	if (!is_node(e))
		return;
	if (is_skip(e)) {
		put_all(t, load(&skip_of(t, e)->hit));
	} else {
		entry = entries_of(t, e, &n);
		for (unsigned i = 0; i < n; i++)
			put_all(t, load(&entry[i]));
	}
	put(t, e);
}

/* --- edits --- */

uint32_t mtrie_edit_kept(const struct mtrie *t)
{
	return t->lines.dir->capacity / 8;
}

/* Memory for a new node; 0: none left. */
static uint32_t get(struct mtrie *t, struct mtrie_edit *ed, unsigned order, uint32_t form)
{
	uint32_t line = 0;

	if (ed->n_fresh < MTRIE_EDIT_NODES &&
	    (ed->kept || mtrie_lines_left(&t->lines) >= mtrie_edit_kept(t) + (1U << order)))
		line = mtrie_lines_get(&t->lines, order);
	return line ? MTRIE_NODE | form | line : 0;
}

static uint32_t fresh(struct mtrie_edit *ed, uint32_t e)
{
	return ed->fresh[ed->n_fresh++] = e;
}

static void retire(struct mtrie_edit *ed, uint32_t e)
{
	ed->old[ed->n_old++] = e;
}

/* What becomes of a leaf in the prefix's range. */
static uint32_t edit_leaf(const struct mtrie_edit *ed, uint32_t e)
{
	switch (ed->kind) {
	case MTRIE_EDIT_FILL:
		return MTRIE_PLEN(e) <= ed->plen ? ed->leaf : e;
	case MTRIE_EDIT_REPLACE:
		return MTRIE_PLEN(e) == ed->plen ? ed->leaf : e;
	default:
		return ed->leaf;
	}
}

/* A slot that the prefix covers. */
static void edit_covered(struct mtrie *t, mtrie_entry *slot, const struct mtrie_edit *ed)
{
	uint32_t e = load(slot);
	mtrie_entry *entry;
	unsigned n;

	if (!is_node(e)) {
		uint32_t now = edit_leaf(ed, e);

		if (now != e)
			store(slot, now);
	} else if (is_skip(e)) {
		edit_covered(t, &skip_of(t, e)->miss, ed);
		edit_covered(t, &skip_of(t, e)->hit, ed);
	} else {
		entry = entries_of(t, e, &n);
		for (unsigned i = 0; i < n; i++)
			edit_covered(t, &entry[i], ed);
	}
}

/* --- nodes as runs --- */

struct runs {
	unsigned n;
	uint16_t start[257]; /* start[n] is 256 */
	uint32_t entry[256];
};

static void add_run(struct runs *r, unsigned start, uint32_t e)
{
	if (r->n && r->entry[r->n - 1] == e)
		return;
	r->start[r->n] = (uint16_t)start;
	r->entry[r->n++] = e;
}

static void read_runs(const struct mtrie *t, uint32_t e, struct runs *ret)
{
	const struct mtrie_runs *r = runs_of(t, e);

	ret->n = 0;
	if (e & MTRIE_FULL) {
		for (unsigned i = 0; i < 256; i++)
			add_run(ret, i, load(&line_of(t, e)->entry[i]));
	} else {
		for (unsigned word = 0; word < 4; word++)
			for (uint64_t left = r->starts[word]; left; left &= left - 1) {
				ret->start[ret->n] =
					(uint16_t)(64 * word + (unsigned)__builtin_ctzll(left));
				ret->entry[ret->n] = load(&r->entry[ret->n]);
				ret->n++;
			}
	}
	ret->start[ret->n] = 256;
}

/* The mask for the first @bits bits of an address in memory. */
static void set_mask(uint64_t mask[2], uint8_t bits)
{
	uint8_t bytes[16] = {0};

	for (unsigned i = 0; i < 16 && bits > 8 * i; i++)
		bytes[i] = bits >= 8 * (i + 1) ? 0xff : (uint8_t)(0xff00 >> (bits - 8 * i));
	memcpy(mask, bytes, 16);
}

static uint32_t new_skip(struct mtrie *t, struct mtrie_edit *ed, const uint8_t *addr, uint8_t bits,
			 uint32_t hit, uint32_t miss)
{
	uint32_t e = get(t, ed, 0, MTRIE_SKIP);
	struct mtrie_skip skip = {.miss = miss, .hit = hit, .bits = bits};

	if (!e)
		return FAILED;
	set_mask(skip.mask, bits);
	memcpy(skip.addr, addr, 16);
	skip.addr[0] &= skip.mask[0];
	skip.addr[1] &= skip.mask[1];
	*skip_of(t, e) = skip;
	return fresh(ed, e);
}

/* Whether only run @i differs, and a skip can say so. */
static bool one_differs(const struct runs *r, unsigned i)
{
	unsigned size = r->start[i + 1] - r->start[i];
	uint32_t miss = r->entry[i ? 0 : 1];

	return !is_node(miss) && (size & (size - 1)) == 0 && r->start[i] % size == 0 &&
	       (r->n == 2 || (i == 1 && r->entry[2] == miss));
}

/* A node @bits deep around @addr, as a skip if that will do: else 0. */
static uint32_t write_skip(struct mtrie *t, struct mtrie_edit *ed, const struct runs *r,
			   uint8_t bits)
{
	unsigned i = r->n == 2 && !is_node(r->entry[1]) &&
				     (is_node(r->entry[0]) ||
				      MTRIE_PLEN(r->entry[0]) > MTRIE_PLEN(r->entry[1]))
			     ? 0
			     : 1;
	uint8_t addr[16];
	uint32_t hit, miss;
	unsigned size;

	if (t->bits != 128 || r->n < 2 || r->n > 3 || !one_differs(r, i))
		return 0;
	hit = r->entry[i];
	miss = r->entry[i ? 0 : 1];
	if (is_skip(hit) && load(&skip_of(t, hit)->miss) == miss)
		return hit; /* which compares the whole address: it will do here as well */
	size = r->start[i + 1] - r->start[i];
	memcpy(addr, ed->addr, 16);
	addr[bits / 8] = (uint8_t)r->start[i];
	return new_skip(t, ed, addr, (uint8_t)(bits + 8 - __builtin_ctz(size)), hit, miss);
}

/* The entry for a slot @bits deep with these runs. */
static uint32_t write_runs(struct mtrie *t, struct mtrie_edit *ed, const struct runs *r,
			   uint8_t bits, bool was_full)
{
	bool full = r->n > (was_full ? FULL_LEAST : MTRIE_RUNS_MAX);
	struct mtrie_runs *out;
	uint32_t e;

	if (r->n == 1 && !is_node(r->entry[0]) && MTRIE_PLEN(r->entry[0]) <= bits)
		return r->entry[0];
	e = write_skip(t, ed, r, bits);
	if (e)
		return e;
	e = get(t, ed, full ? MTRIE_ORDERS - 1 : order_for(r->n), full ? MTRIE_FULL : 0);
	if (!e)
		return FAILED;
	if (full) {
		mtrie_entry *entry = line_of(t, e)->entry;

		for (unsigned i = 0; i < r->n; i++)
			for (unsigned at = r->start[i]; at < r->start[i + 1]; at++)
				atomic_store_explicit(&entry[at], r->entry[i],
						      memory_order_relaxed);
		return fresh(ed, e);
	}
	out = runs_of(t, e);
	memset(out->starts, 0, sizeof(out->starts));
	for (unsigned i = 0; i < r->n; i++) {
		out->starts[r->start[i] >> 6] |= 1ULL << (r->start[i] & 63);
		atomic_store_explicit(&out->entry[i], r->entry[i], memory_order_relaxed);
	}
	count_before(out);
	return fresh(ed, e);
}

/* --- the way down --- */

static uint32_t edit(struct mtrie *t, uint32_t e, uint8_t bits, struct mtrie_edit *ed);

/* How many bits of @addr are as the skip says, @most at the most. */
static uint8_t bits_alike(const struct mtrie_skip *skip, const uint8_t *addr, uint8_t most)
{
	const uint8_t *with = (const uint8_t *)skip->addr;
	unsigned n = 0;

	while (n + 8 <= most && with[n / 8] == addr[n / 8])
		n += 8;
	while (n < most && !((with[n / 8] ^ addr[n / 8]) & 0x80 >> n % 8))
		n++;
	return (uint8_t)n;
}

/* The entry to take the skip @e's place when what it leads to, @at bits deep, is @now instead. */
static uint32_t skip_to(struct mtrie *t, struct mtrie_edit *ed, uint32_t e, uint8_t at,
			uint32_t now)
{
	uint32_t miss = load(&skip_of(t, e)->miss);

	if (now == miss || (is_skip(now) && load(&skip_of(t, now)->miss) == miss))
		return now;
	return new_skip(t, ed, (const uint8_t *)skip_of(t, e)->addr, at, now, miss);
}

static uint32_t edit_inside(struct mtrie *t, uint32_t e, uint8_t bits, struct mtrie_edit *ed);

/* Inside the skip @e, as far as it needn't be opened at @bits. False: it must. */
static bool edit_skip(struct mtrie *t, uint32_t e, uint8_t bits, struct mtrie_edit *ed,
		      uint32_t *ret)
{
	struct mtrie_skip *skip = skip_of(t, e);
	uint8_t most = ed->plen < skip->bits ? ed->plen : skip->bits;
	uint8_t alike = bits_alike(skip, ed->addr, most);
	uint32_t hit = load(&skip->hit), miss = load(&skip->miss), now;
	uint8_t at;

	*ret = e;
	if (alike == skip->bits && (is_node(hit) || ed->plen == alike)) {
		/* What it leads to, or the prefix that it's there for. */
		now = edit(t, hit, skip->bits, ed);
		if (now == hit)
			return true;
		if (now == FAILED) {
			*ret = FAILED;
		} else if (now == miss || (is_skip(now) && load(&skip_of(t, now)->miss) == miss)) {
			/* What is left says it all. */
			retire(ed, e);
			*ret = now;
		} else {
			ed->at = &skip->hit;
			ed->at_entry = now;
		}
		return true;
	}
	/* The level at which the two part, or the shorter one ends. */
	at = alike == most ? (uint8_t)((alike - 1) / 8 * 8) : alike / 8 * 8;
	if (at <= bits)
		return false;
	now = edit_inside(t, e, at, ed);
	*ret = now == e || now == FAILED ? now : skip_to(t, ed, e, at, now);
	return true;
}

/* Reads a skip @bits deep as runs. If it goes deeper, it stands for what is left of it there as well. */
static void open_skip(const struct mtrie *t, uint32_t e, uint8_t bits, struct runs *ret)
{
	const struct mtrie_skip *skip = skip_of(t, e);
	unsigned first = ((const uint8_t *)skip->addr)[bits / 8];
	unsigned size = skip->bits > bits + 8 ? 1 : 1U << (bits + 8 - skip->bits);
	uint32_t miss = load(&skip->miss);

	ret->n = 0;
	if (first)
		add_run(ret, 0, miss);
	add_run(ret, first, skip->bits > bits + 8 ? e : load(&skip->hit));
	if (first + size < 256)
		add_run(ret, first + size, miss);
	ret->start[ret->n] = 256;
}

/* What is left of the opened skip @e, all of it in the prefix's range. Until the new nodes are linked, @e is still read for a
 * wider range, so it can't be changed in place; but what it leads to can. */
static uint32_t edit_rest(struct mtrie *t, uint32_t e, struct mtrie_edit *ed)
{
	struct mtrie_skip *skip = skip_of(t, e);
	uint32_t miss = load(&skip->miss), now;
	mtrie_entry hit = load(&skip->hit);

	if (ed->kind == MTRIE_EDIT_FORCE) {
		ed->old_tree = e;
		return ed->leaf;
	}
	edit_covered(t, &hit, ed);
	if (load(&hit) == load(&skip->hit) && edit_leaf(ed, miss) == miss)
		return e;
	now = new_skip(t, ed, (const uint8_t *)skip->addr, skip->bits, load(&hit),
		       edit_leaf(ed, miss));
	if (now != FAILED)
		retire(ed, e);
	return now;
}

/* Whether the entries in the prefix's range of the node @e can be stored over the old ones. */
static bool keeps_form(const struct mtrie *t, uint32_t e, uint8_t bits, const struct runs *before,
		       const struct runs *now)
{
	if (now->n == 1 && !is_node(now->entry[0]) && MTRIE_PLEN(now->entry[0]) <= bits)
		return false;
	if (e & MTRIE_FULL)
		return now->n > FULL_LEAST;
	if (now->n != before->n || memcmp(before->start, now->start, 2 * now->n) != 0)
		return false;
	return t->bits != 128 || now->n > 3 || now->n < 2 ||
	       !(one_differs(now, 0) || one_differs(now, 1));
}

/* Stores the entries from index @first up to @end. One that leads to new nodes is kept for the end. */
static void store_runs(struct mtrie *t, uint32_t e, const struct runs *now, unsigned first,
		       unsigned end, struct mtrie_edit *ed)
{
	unsigned n;
	mtrie_entry *entry = entries_of(t, e, &n);

	for (unsigned i = 0; i < now->n; i++) {
		unsigned from = now->start[i] < first ? first : now->start[i];
		unsigned to = now->start[i + 1] > end ? end : now->start[i + 1];

		for (unsigned at = from; at < to; at++) {
			mtrie_entry *slot = &entry[e & MTRIE_FULL ? at : i];

			if (load(slot) == now->entry[i])
				continue;
			if (is_node(now->entry[i])) {
				ed->at = slot;
				ed->at_entry = now->entry[i];
			} else {
				store(slot, now->entry[i]);
			}
		}
	}
}

/* --- short cuts: the same without reading a whole node, for what most edits are --- */

/* The entry @slot becomes @now: at once, or, where new nodes hang on it, when all is ready. */
static void store_or_keep(struct mtrie_edit *ed, mtrie_entry *slot, uint32_t now)
{
	if (now == load(slot))
		return;
	if (is_node(now)) {
		ed->at = slot;
		ed->at_entry = now;
	} else {
		store(slot, now);
	}
}

/* A full node that stays one. */
static bool edit_full(struct mtrie *t, uint32_t e, uint8_t bits, unsigned first, unsigned end,
		      struct mtrie_edit *ed, uint32_t *ret)
{
	mtrie_entry *entry = line_of(t, e)->entry;
	unsigned n_runs = 1;

	if (ed->kind == MTRIE_EDIT_FORCE)
		return false;
	if (ed->kind == MTRIE_EDIT_REPLACE || end - first > 1) {
		for (unsigned i = 1; i < 256; i++)
			n_runs += load(&entry[i]) != load(&entry[i - 1]);
		if (n_runs < FULL_LEAST + 2 * (end - first))
			return false;
	}
	*ret = e;
	for (unsigned i = first; i < end; i++) {
		uint32_t now = edit(t, load(&entry[i]), bits + 8, ed);

		if (now == FAILED)
			*ret = FAILED;
		else
			store_or_keep(ed, &entry[i], now);
	}
	return true;
}

static bool starts_at(const struct mtrie_runs *r, unsigned i)
{
	return r->starts[i >> 6] >> (i & 63) & 1;
}

/* A new node like @r, but for the entry @now from @first up to @end, which are in run @run. @left, @right: a part of that run
 * stays in front or behind; @join_left, @join_right: the run before or behind is equal to the new one. */
static uint32_t splice(struct mtrie *t, struct mtrie_edit *ed, const struct mtrie_runs *r,
		       unsigned n, unsigned run, unsigned first, unsigned end, uint32_t now,
		       bool left, bool right, bool join_left, bool join_right)
{
	unsigned total = n + left + right - join_left - join_right, at = run, from = run + 1;
	uint32_t e = get(t, ed, order_for(total), 0);
	struct mtrie_runs *out;

	if (!e)
		return FAILED;
	out = runs_of(t, e);
	memcpy(out->starts, r->starts, sizeof(out->starts));
	/* Nobody reads the new one yet, and nobody else writes the old one. */
	memcpy((void *)out->entry, (const void *)r->entry, 4UL * run);
	if (left)
		atomic_init(&out->entry[at++], load(&r->entry[run]));
	if (!join_left)
		atomic_init(&out->entry[at++], now);
	if (right)
		atomic_init(&out->entry[at++], load(&r->entry[run]));
	from += join_right;
	memcpy((void *)&out->entry[at], (const void *)&r->entry[from], 4UL * (n - from));
	if (join_left)
		out->starts[first >> 6] &= ~(1ULL << (first & 63));
	else
		out->starts[first >> 6] |= 1ULL << (first & 63);
	if (join_right)
		out->starts[end >> 6] &= ~(1ULL << (end & 63));
	else if (end < 256)
		out->starts[end >> 6] |= 1ULL << (end & 63);
	count_before(out);
	return fresh(ed, e);
}

/* A node of runs that stays one, and the prefix's range is in one of its runs. */
static bool edit_one_run(struct mtrie *t, uint32_t e, uint8_t bits, unsigned first, unsigned end,
			 struct mtrie_edit *ed, uint32_t *ret)
{
	struct mtrie_runs *r = runs_of(t, e);
	unsigned n = count_runs(r), run;
	bool left, right, join_left, join_right;
	uint32_t now;

	for (unsigned i = first + 1; i < end; i++)
		if (starts_at(r, i))
			return false;
	if (n < 6 || n + 2 > MTRIE_RUNS_MAX)
		return false; /* it may become another form */
	run = r->before[first >> 6] - 1U +
	      (unsigned)__builtin_popcountll(r->starts[first >> 6] & ((2ULL << (first & 63)) - 1));
	now = edit(t, load(&r->entry[run]), bits + 8, ed);
	*ret = now == FAILED ? FAILED : e;
	if (now == FAILED || now == load(&r->entry[run]))
		return true;
	left = !starts_at(r, first);
	right = end < 256 && !starts_at(r, end);
	join_left = !left && run && load(&r->entry[run - 1]) == now;
	join_right = !right && run + 1 < n && load(&r->entry[run + 1]) == now;
	if (!left && !right && !join_left && !join_right) {
		store_or_keep(ed, &r->entry[run], now);
		return true;
	}
	*ret = splice(t, ed, r, n, run, first, end, now, left, right, join_left, join_right);
	if (*ret != FAILED)
		retire(ed, e);
	return true;
}

/* What belongs in a slot @bits deep that holds @e now, when the prefix is longer than that; FAILED: no memory. */
static uint32_t edit_inside(struct mtrie *t, uint32_t e, uint8_t bits, struct mtrie_edit *ed)
{
	unsigned first = ed->addr[bits / 8];
	unsigned end = first + (ed->plen >= bits + 8 ? 1 : 1U << (bits + 8 - ed->plen));
	struct runs before, now;
	uint32_t ret;

	before.n = 1;
	before.start[0] = 0;
	before.start[1] = 256;
	before.entry[0] = e;
	now.n = 0;
	if (is_node(e) && !is_skip(e) &&
	    (e & MTRIE_FULL ? edit_full(t, e, bits, first, end, ed, &ret)
			    : edit_one_run(t, e, bits, first, end, ed, &ret)))
		return ret;
	if (!is_node(e) && t->bits == 128)
		return new_skip(t, ed, ed->addr, ed->plen, ed->leaf, e);
	if (is_skip(e)) {
		if (edit_skip(t, e, bits, ed, &ret))
			return ret;
		open_skip(t, e, bits, &before);
	} else if (is_node(e)) {
		read_runs(t, e, &before);
	}
	for (unsigned i = 0; i < before.n; i++) {
		unsigned from = before.start[i], to = before.start[i + 1];
		uint32_t was = before.entry[i], is;

		if (to <= first || from >= end) {
			add_run(&now, from, was);
			continue;
		}
		is = was == e && is_node(e) ? edit_rest(t, e, ed) : edit(t, was, bits + 8, ed);
		if (is == FAILED)
			return FAILED;
		if (from < first)
			add_run(&now, from, was);
		add_run(&now, from < first ? first : from, is);
		if (to > end)
			add_run(&now, end, was);
	}
	now.start[now.n] = 256;
	if (now.n == before.n && !memcmp(before.start, now.start, 2 * now.n) &&
	    !memcmp(before.entry, now.entry, 4 * now.n))
		return e;
	if (is_node(e) && !is_skip(e) && keeps_form(t, e, bits, &before, &now)) {
		store_runs(t, e, &now, first, end, ed);
		return e;
	}
	/* A skip that goes deeper still stands for the rest of it, or went with all below it. */
	if (is_node(e) && !(is_skip(e) && skip_of(t, e)->bits > bits + 8))
		retire(ed, e);
	return write_runs(t, ed, &now, bits, is_node(e) && e & MTRIE_FULL);
}

static uint32_t edit(struct mtrie *t, uint32_t e, uint8_t bits, struct mtrie_edit *ed)
{
	mtrie_entry slot;

	if (ed->plen > bits) {
		/* Below a leaf nothing can go, and nothing gets in where the range is pinned. */
		if (!is_node(e) &&
		    (ed->kind == MTRIE_EDIT_REPLACE || MTRIE_PLEN(e) == MTRIE_PINNED))
			return e;
		return edit_inside(t, e, bits, ed);
	}
	if (ed->kind == MTRIE_EDIT_FORCE) {
		if (is_node(e))
			ed->old_tree = e;
		return ed->leaf;
	}
	slot = e;
	edit_covered(t, &slot, ed);
	return load(&slot);
}

bool mtrie_edit_slot(struct mtrie *t, mtrie_entry *slot, struct mtrie_edit *ed)
{
	uint32_t e = load(slot), now;

	ed->n_fresh = ed->n_old = 0;
	ed->old_tree = 0;
	ed->at = NULL;
	now = edit(t, e, MTRIE_ROOT_BITS, ed);
	if (now == FAILED) {
		for (unsigned i = 0; i < ed->n_fresh; i++)
			put(t, ed->fresh[i]);
		return false;
	}
	if (ed->at)
		store(ed->at, ed->at_entry);
	if (now != e)
		store(slot, now);
	for (unsigned i = 0; i < ed->n_old; i++)
		put(t, ed->old[i]);
	put_all(t, ed->old_tree);
	return true;
}
