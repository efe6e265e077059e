// SPDX-License-Identifier: BSD-3-Clause
/* One prefix's change to an M-trie, in one slot of its root; mtrie.c decides which. */
#pragma once

#include "features/route/mtrie.h"

#define MTRIE_PINNED	0xff /* length of the prefix in a pinned range's leaf, which no prefix has */
#define MTRIE_ROOT_BITS 16
/* That one edit makes or replaces: of fourteen levels, two at each at the most. */
#define MTRIE_EDIT_NODES 32

enum mtrie_edit_kind {
	MTRIE_EDIT_FILL,    /* puts the leaf wherever no longer prefix stands */
	MTRIE_EDIT_REPLACE, /* puts it where the prefix's own leaf stands */
	MTRIE_EDIT_FORCE,   /* puts it everywhere in the prefix's range, which ends with a byte */
};

struct mtrie_edit {
	enum mtrie_edit_kind kind;
	uint8_t plen;
	bool kept; /* may have the lines that are kept */
	uint8_t addr[16];
	uint32_t leaf;
	/* The rest is mtrie_edit_slot's own. Where one store links all that is new; NULL: the entry that goes into the slot does. */
	mtrie_entry *at;
	uint32_t at_entry;
	/* Nodes that are new, and those that are no more once these are linked. */
	uint32_t fresh[MTRIE_EDIT_NODES], old[MTRIE_EDIT_NODES];
	unsigned n_fresh, n_old;
	uint32_t old_tree; /* MTRIE_EDIT_FORCE: and all below it; 0: none */
};

static inline uint32_t mtrie_leaf(uint8_t plen, uint32_t value)
{
	return (uint32_t)plen << 23 | value;
}

/* False: no memory, and nothing happened but to leaves in place. */
bool mtrie_edit_slot(struct mtrie *t, mtrie_entry *slot, struct mtrie_edit *edit);

/* How many lines are kept for edits that may have them. */
uint32_t mtrie_edit_kept(const struct mtrie *t);
