// SPDX-License-Identifier: BSD-3-Clause
#include "cmgrd/store.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/hash.h"

#define BUCKETS_MIN 1024
#define LIST_MIN    64

enum { WAITING = 1 << 0, DELETED = 1 << 1 };

struct store *store_new(void)
{
	struct store *store = calloc(1, sizeof(*store));

	if (!store)
		return NULL;
	store->n_buckets = BUCKETS_MIN;
	store->buckets = calloc(BUCKETS_MIN, sizeof(struct store_object *));
	if (!store->buckets) {
		free(store);
		return NULL;
	}
	return store;
}

void store_free(struct store *store)
{
	struct store_object *next;

	if (!store)
		return;
	for (uint32_t i = 0; i < store->n_buckets; i++) {
		for (struct store_object *o = store->buckets[i]; o; o = next) {
			next = o->chain;
			if (store->lists[o->feature].drop)
				store->lists[o->feature].drop(o);
			free(o);
		}
	}
	for (unsigned i = 0; i < STORE_FEATURES; i++)
		free(store->lists[i].objects);
	frame_out_free(&store->written);
	free(store->buckets);
	free(store);
}

int store_feature(struct store *store, uint16_t feature, uint16_t key_size)
{
	if (feature >= STORE_FEATURES || !key_size)
		return -EINVAL;
	store->lists[feature].key_size = key_size;
	return 0;
}

static void grow(struct store *store)
{
	uint32_t n = store->n_buckets * 2;
	struct store_object **buckets = calloc(n, sizeof(struct store_object *)), *next;

	if (!buckets)
		return; /* longer chains will do */
	for (uint32_t i = 0; i < store->n_buckets; i++) {
		for (struct store_object *o = store->buckets[i]; o; o = next) {
			next = o->chain;
			o->chain = buckets[o->hash & (n - 1)];
			buckets[o->hash & (n - 1)] = o;
		}
	}
	free(store->buckets);
	store->buckets = buckets;
	store->n_buckets = n;
}

static struct store_object **find_link(struct store *store, uint16_t feature, const void *key,
				       uint32_t hash)
{
	struct store_object **link = &store->buckets[hash & (store->n_buckets - 1)];
	size_t size = store->lists[feature].key_size;

	while (*link && !((*link)->hash == hash && (*link)->feature == feature &&
			  !memcmp((*link)->data, key, size)))
		link = &(*link)->chain;
	return link;
}

struct store_object *store_find(struct store *store, uint16_t feature, const void *key)
{
	struct store_object *o = *find_link(
		store, feature, key, hash_bytes(feature, key, store->lists[feature].key_size));

	return o && !(o->state & DELETED) ? o : NULL;
}

struct store_object *store_at(struct store *store, uint16_t feature, uint32_t place)
{
	return store->lists[feature].objects[place];
}

/* --- the queue */

static void push(struct store *store, struct store_object *o)
{
	if (!store->listening || (o->state & WAITING))
		return;
	o->state |= WAITING;
	o->after = NULL;
	o->before = store->last;
	if (store->last)
		store->last->after = o;
	else
		store->first = o;
	store->last = o;
	store->waiting++;
	store->pushed++;
}

static void pull(struct store *store, struct store_object *o)
{
	if (o->before)
		o->before->after = o->after;
	else
		store->first = o->after;
	if (o->after)
		o->after->before = o->before;
	else
		store->last = o->before;
	o->state &= (uint8_t)~WAITING;
	store->waiting--;
	store->taken++;
}

static void write_down(struct store *store, const struct store_object *o)
{
	if (store->journal &&
	    frame_put(&store->written, o->state & DELETED ? FPC_DEL : FPC_SET, o->feature, 0, 0,
		      o->data, o->state & DELETED ? store->lists[o->feature].key_size : o->len))
		store->failed = true;
}

/* --- objects */

static uint32_t sum_of(const struct store_object *o)
{
	return hash_bytes(0, o->data, o->len);
}

static int list_put(struct store_list *list, struct store_object *o)
{
	if (list->n == list->size) {
		uint32_t size = list->size ? list->size * 2 : LIST_MIN;
		struct store_object **objects =
			realloc(list->objects, size * sizeof(struct store_object *));

		if (!objects)
			return -ENOMEM;
		list->objects = objects;
		list->size = size;
	}
	o->place = list->n;
	list->objects[list->n++] = o;
	return 0;
}

static void list_take(struct store_list *list, const struct store_object *o)
{
	struct store_object *last = list->objects[--list->n];

	list->objects[o->place] = last;
	last->place = o->place;
}

static void forget(struct store *store, struct store_object **link)
{
	struct store_object *o = *link;

	*link = o->chain;
	store->n--;
	free(o);
}

/* *@link with room for @len bytes; its neighbours know where it is now. */
static struct store_object *resize(struct store *store, struct store_object **link, size_t len)
{
	struct store_object *o = realloc(*link, offsetof(struct store_object, data) + len);

	if (!o)
		return NULL;
	*link = o;
	if (!(o->state & DELETED))
		store->lists[o->feature].objects[o->place] = o;
	if (o->state & WAITING) {
		if (o->before)
			o->before->after = o;
		else
			store->first = o;
		if (o->after)
			o->after->before = o;
		else
			store->last = o;
	}
	return o;
}

int store_set(struct store *store, uint16_t feature, const void *body, size_t len, const void *note,
	      size_t note_len, struct store_object **ret_object)
{
	struct store_list *list = &store->lists[feature];
	uint32_t hash = hash_bytes(feature, body, list->key_size);
	struct store_object **link = find_link(store, feature, body, hash), *o = *link;
	uint64_t before = 0;
	bool same;

	len = frame_trim(body, len, list->key_size);
	if (!o) {
		o = malloc(offsetof(struct store_object, data) + len + note_len);
		if (!o || list_put(list, o)) {
			free(o);
			store->failed = true;
			return -ENOMEM;
		}
		o->chain = NULL;
		o->hash = hash;
		o->feature = (uint8_t)feature;
		o->state = o->mark = 0;
		*link = o;
		same = false;
		if (++store->n > store->n_buckets)
			grow(store);
	} else {
		same = !(o->state & DELETED) && o->len == len && !memcmp(o->data, body, len);
		if (same && o->note_len == note_len && !memcmp(store_note(o), note, note_len)) {
			if (ret_object)
				*ret_object = o;
			return 0;
		}
		if (!(o->state & DELETED))
			before = sum_of(o);
		if ((size_t)o->len + o->note_len != len + note_len || o->state & DELETED) {
			struct store_object *moved = resize(store, link, len + note_len);

			if (!moved || (moved->state & DELETED && list_put(list, moved))) {
				store->failed = true;
				return -ENOMEM;
			}
			o = moved;
		}
		o->state &= (uint8_t)~DELETED;
	}
	o->len = (uint16_t)len;
	o->note_len = (uint8_t)note_len;
	memcpy(o->data, body, len);
	if (note_len)
		memcpy(store_note(o), note, note_len);
	if (ret_object)
		*ret_object = o;
	if (same)
		return 0;
	list->sum += sum_of(o) - before;
	store->changes++;
	push(store, o);
	write_down(store, o);
	return 1;
}

int store_delete(struct store *store, uint16_t feature, const void *key)
{
	struct store_list *list = &store->lists[feature];
	struct store_object **link =
		find_link(store, feature, key, hash_bytes(feature, key, list->key_size));
	struct store_object *o = *link;

	if (!o || o->state & DELETED)
		return 0;
	list->sum -= sum_of(o);
	list_take(list, o);
	o->state |= DELETED;
	o->mark = 0;
	o->len = list->key_size;
	o->note_len = 0;
	store->changes++;
	write_down(store, o);
	if (!store->listening) {
		forget(store, link);
		return 1;
	}
	push(store, o);
	return 1;
}

static void forget_told(struct store *store, struct store_object *o)
{
	struct store_object **link = &store->buckets[o->hash & (store->n_buckets - 1)];

	if (!(o->state & DELETED))
		return;
	while (*link != o)
		link = &(*link)->chain;
	forget(store, link);
}

void store_listen(struct store *store, bool listening)
{
	store->listening = listening;
	while (!listening && store->first) {
		struct store_object *o = store->first;

		pull(store, o);
		forget_told(store, o);
	}
}

void store_tell(struct store *store, uint16_t feature)
{
	for (uint32_t i = 0; i < store->lists[feature].n; i++)
		push(store, store->lists[feature].objects[i]);
}

uint32_t store_take(struct store *store, struct frame_out *out, uint32_t most, uint32_t seq)
{
	uint32_t n = 0;

	while (n < most && store->first) {
		struct store_object *o = store->first;
		bool last = n + 1 == most || !o->after;

		if (frame_put(out, o->state & DELETED ? FPC_DEL : FPC_SET, o->feature,
			      last ? FPC_F_ACK : 0, seq + n, o->data, o->len)) {
			store->failed = true;
			break;
		}
		n++;
		pull(store, o);
		forget_told(store, o);
	}
	return n;
}
