// SPDX-License-Identifier: BSD-3-Clause
#include "fpmd/objects.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fpc/check.h"
#include "fpc/frame.h"
#include "fpmd/pool.h"
#include "lib/hash.h"
#include "lib/log.h"

#define BUCKETS_MIN 1024
/* A full table can refuse a million routes: not that many lines. */
#define LOG_MAX	    20
#define LOG_SECONDS 10
#define LOG_KEY_MAX 64

/* A packed body: for each 8 bytes one whose bits tell which of them aren't zero, then those. The key and what follows it
 * are packed apart, so that equal keys are equal beginnings. A route with one IPv4 next hop takes 23 bytes, not 52. */
#define GROUP	      8
#define PACK_MAX(len) ((len) + (len) / GROUP + 2)
#define OBJECT_MAX    32768

#define PART(name) {&name##_feature, &name##_apply},
const struct fpm_part fpm_parts[] = {FEATURES(PART)};
#undef PART

static uint8_t *pack_bytes(uint8_t *to, const uint8_t *from, size_t len)
{
	for (size_t at = 0; at < len; at += GROUP) {
		size_t n = len - at < GROUP ? len - at : GROUP;
		uint8_t *mask = to++;

		*mask = 0;
		for (size_t i = 0; i < n; i++) {
			uint8_t b = from[at + i];

			*to = b;
			to += b != 0;
			*mask |= (uint8_t)((b != 0) << i);
		}
	}
	return to;
}

static const uint8_t *unpack_bytes(uint8_t *to, const uint8_t *from, size_t len)
{
	for (size_t at = 0; at < len; at += GROUP) {
		size_t n = len - at < GROUP ? len - at : GROUP;
		uint8_t mask = *from++;

		for (size_t i = 0; i < n; i++)
			to[at + i] = mask >> i & 1 ? *from++ : 0;
	}
	return from;
}

int objects_init(struct objects *o, struct fpm *fpm, const struct fpm_part *parts, unsigned n_parts,
		 struct err *err)
{
	*o = (struct objects){
		.fpm = fpm,
		.parts = parts,
		.n_parts = n_parts,
		.lists = calloc(n_parts, sizeof(*o->lists)),
		.buckets = calloc(BUCKETS_MIN, sizeof(*o->buckets)),
		.n_buckets = BUCKETS_MIN,
		.old_whole = calloc(1, FPC_MAX_BODY),
		.new_whole = calloc(1, FPC_MAX_BODY),
		.sum_whole = calloc(1, FPC_MAX_BODY),
		.pack = calloc(1, PACK_MAX(OBJECT_MAX) + 1),
	};
	if (!o->lists || !o->buckets || !o->old_whole || !o->new_whole || !o->sum_whole ||
	    !o->pack) {
		objects_free(o);
		return err_set(err, ENOMEM, "no memory for the object store");
	}
	for (unsigned i = 0; i < n_parts; i++) {
		int rc = 0;

		static_assert(PACK_MAX(OBJECT_MAX) <= UINT16_MAX);
		if (parts[i].feature->msg_size > OBJECT_MAX) {
			objects_free(o);
			return err_set(err, EMSGSIZE, "objects of %s are too large",
				       parts[i].feature->name);
		}

		if (parts[i].apply && parts[i].apply->init)
			rc = parts[i].apply->init(fpm, err);
		if (rc) {
			objects_free(o);
			return rc;
		}
	}
	return 0;
}

static size_t object_size(size_t packed)
{
	size_t size = offsetof(struct object, pack) + packed;

	return size < sizeof(struct object) ? sizeof(struct object) : size;
}

static void object_free(struct object *obj)
{
	pool_put(obj, object_size(obj->packed));
}

void objects_free(struct objects *o)
{
	for (unsigned i = 0; o->lists && i < o->n_parts; i++) {
		struct object *next;

		for (struct object *obj = o->lists[i].first; obj; obj = next) {
			next = obj->next;
			free(obj->trouble);
			object_free(obj);
		}
	}
	free(o->lists);
	free(o->buckets);
	free(o->old_whole);
	free(o->new_whole);
	free(o->sum_whole);
	free(o->pack);
	*o = (struct objects){};
}

int objects_part(const struct objects *o, uint16_t id)
{
	for (unsigned i = 0; i < o->n_parts; i++)
		if (o->parts[i].feature->id == id)
			return (int)i;
	return -1;
}

/* @key: packed, @len bytes. */
static struct object **find_packed(const struct objects *o, unsigned part, const void *key,
				   size_t len, uint32_t hash)
{
	struct object **link = &o->buckets[hash & (o->n_buckets - 1)];

	/* Nothing of the same hash can be so short that its key ends before @len: a mask says how much follows. */
	while (*link && !((*link)->hash == hash && (*link)->part == part &&
			  (*link)->packed >= len && !memcmp((*link)->pack, key, len)))
		link = &(*link)->chain;
	return link;
}

static struct object **find_link(const struct objects *o, unsigned part, const void *key)
{
	size_t len = o->parts[part].feature->key_size;
	const uint8_t *end = pack_bytes(o->pack, key, len);

	return find_packed(o, part, o->pack, (size_t)(end - o->pack), hash_bytes(part, key, len));
}

const struct object *objects_find(const struct objects *o, unsigned part, const void *key)
{
	return *find_link(o, part, key);
}

void object_whole(const struct objects *o, const struct object *object, void *ret, size_t size)
{
	size_t key_size = o->parts[object->part].feature->key_size;
	const uint8_t *rest = unpack_bytes(ret, object->pack, key_size);

	unpack_bytes((uint8_t *)ret + key_size, rest, object->len - key_size);
	memset((char *)ret + object->len, 0, size - object->len);
}

static uint32_t sum_of(const struct objects *o, const struct object *object)
{
	object_whole(o, object, o->sum_whole, object->len);
	return hash_bytes(0, o->sum_whole, object->len);
}

bool objects_audit(const struct objects *o, unsigned part, const struct fpc_audit *audit)
{
	const struct object_list *list = &o->lists[part];
	uint32_t n = 0;

	for (unsigned i = 0; i < OBJECT_STATES; i++)
		n += list->n[i];
	return list->sum == audit->sum && n == audit->count;
}

static struct object **link_of(const struct objects *o, const struct object *obj)
{
	struct object **link = &o->buckets[obj->hash & (o->n_buckets - 1)];

	while (*link != obj)
		link = &(*link)->chain;
	return link;
}

static void grow(struct objects *o)
{
	uint32_t n = o->n_buckets * 2;
	struct object **buckets = calloc(n, sizeof(struct object *));

	if (!buckets)
		return; /* longer chains will do */
	for (uint32_t i = 0; i < o->n_buckets; i++) {
		struct object *next;

		for (struct object *obj = o->buckets[i]; obj; obj = next) {
			next = obj->chain;
			obj->chain = buckets[obj->hash & (n - 1)];
			buckets[obj->hash & (n - 1)] = obj;
		}
	}
	free(o->buckets);
	o->buckets = buckets;
	o->n_buckets = n;
}

/* Puts @obj where @at stood in its list, or at the end (@at NULL). */
static void list_put(struct objects *o, struct object *obj, struct object *at)
{
	struct object_list *list = &o->lists[obj->part];

	obj->prev = at ? at->prev : list->last;
	obj->next = at ? at->next : NULL;
	if (obj->prev)
		obj->prev->next = obj;
	else
		list->first = obj;
	if (obj->next)
		obj->next->prev = obj;
	else
		list->last = obj;
}

static void list_take(struct objects *o, struct object *obj)
{
	struct object_list *list = &o->lists[obj->part];

	if (obj->prev)
		obj->prev->next = obj->next;
	else
		list->first = obj->next;
	if (obj->next)
		obj->next->prev = obj->prev;
	else
		list->last = obj->prev;
}

static void move_cursors(struct objects *o, const struct object *from, struct object *to)
{
	for (struct object_cursor *c = o->cursors; c; c = c->next)
		if (c->at == from)
			c->at = to;
}

/* The queue that an object in trouble stands in, NULL: none. */
static struct trouble_queue *queue_of(struct objects *o, const struct trouble *t)
{
	struct object_list *list = &o->lists[t->object->part];

	if (t->object->state == OBJECT_PARKED)
		return &list->parked;
	return t->code == ENOSPC ? &list->starved : NULL;
}

static void queue_take(struct objects *o, struct trouble *t)
{
	struct trouble_queue *q = queue_of(o, t);

	if (!q)
		return;
	if (t->prev)
		t->prev->next = t->next;
	else
		q->first = t->next;
	if (t->next)
		t->next->prev = t->prev;
	else
		q->last = t->prev;
	q->n--;
	/* Where it stood isn't known: one try too few would be wrong, one too many isn't. */
	if (q->left > q->n)
		q->left = q->n;
}

static void queue_put(struct objects *o, struct trouble *t)
{
	struct trouble_queue *q = queue_of(o, t);

	if (!q)
		return;
	t->next = NULL;
	t->prev = q->last;
	if (q->last)
		q->last->next = t;
	else
		q->first = t;
	q->last = t;
	q->n++;
}

static void leave_state(struct objects *o, struct object *obj)
{
	o->lists[obj->part].n[obj->state]--;
	if (obj->trouble)
		queue_take(o, obj->trouble);
}

/* @obj's state is now @state; troubles have @err and @field. */
static void enter_state(struct objects *o, struct object *obj, enum object_state state,
			const struct err *err, const char *field)
{
	obj->state = state;
	o->lists[obj->part].n[state]++;
	if (state == OBJECT_APPLIED) {
		free(obj->trouble);
		obj->trouble = NULL;
		return;
	}
	if (!obj->trouble)
		obj->trouble = calloc(1, sizeof(*obj->trouble));
	/* Without memory for it the object stands there refused without a reason, until its next SET. */
	if (!obj->trouble)
		return;
	obj->trouble->object = obj;
	obj->trouble->code = err->code;
	obj->trouble->field = field;
	snprintf(obj->trouble->text, sizeof(obj->trouble->text), "%.*s",
		 (int)sizeof(obj->trouble->text) - 1, err->text);
	queue_put(o, obj->trouble);
}

/* Objects that wait for something of @part may hope. */
static void wake_dependents(struct objects *o, unsigned part)
{
	uint16_t id = o->parts[part].feature->id;

	for (unsigned i = 0; i < o->n_parts; i++) {
		const struct fpm_apply *apply = o->parts[i].apply;

		if (apply && apply->depends >> id & 1)
			o->lists[i].parked.left = o->lists[i].parked.n;
	}
}

static void content_changed(struct objects *o)
{
	struct shm_header *h = o->fpm->config.header;

	if (h)
		atomic_store_explicit(&h->changes,
				      atomic_load_explicit(&h->changes, memory_order_relaxed) + 1,
				      memory_order_release);
}

static void log_refusal(struct objects *o, const struct object *obj, const uint8_t *whole,
			const struct err *err)
{
	const struct feature *f = o->parts[obj->part].feature;
	char key[2 * LOG_KEY_MAX + 1] = "";
	struct timespec now;

	if (o->quiet)
		return;
	clock_gettime(CLOCK_MONOTONIC, &now);
	if (now.tv_sec - o->logged_at >= LOG_SECONDS) {
		o->logged_at = now.tv_sec;
		o->logged = 0;
	}
	if (++o->logged > LOG_MAX) {
		if (o->logged == LOG_MAX + 1)
			log_warn("more objects aren't in the fast path: 'fp-cli refused' shows "
				 "them");
		return;
	}
	for (unsigned i = 0; i < f->key_size && i < LOG_KEY_MAX; i++)
		snprintf(key + 2 * i, 3, "%02x", whole[i]);
	log_warn("%s with key %s isn't in the fast path: %s", f->name, key, err->text);
}

/* Applies @obj, whose old state has been left; @old: what was applied, or NULL. */
static int apply(struct objects *o, struct object *obj, const void *whole, const void *old,
		 const char **ret_field, struct err *ret_err)
{
	const struct fpm_part *part = &o->parts[obj->part];
	const char *field;
	struct err err = {};
	int rc = 0;

	fpm_field_take();
	if (part->apply && part->apply->set)
		rc = part->apply->set(o->fpm, whole, old, &obj->priv, &err);
	field = fpm_field_take();
	if (!rc) {
		enter_state(o, obj, OBJECT_APPLIED, NULL, NULL);
		content_changed(o);
		wake_dependents(o, obj->part);
		return 0;
	}
	if (!err.code)
		err_set(&err, -rc, "%s", strerror(-rc));
	err.code = -rc;
	if (old)
		content_changed(o);
	/* Once for each reason, not for each try. */
	if (rc != -EAGAIN && (!obj->trouble || obj->trouble->code != -rc))
		log_refusal(o, obj, whole, &err);
	enter_state(o, obj, rc == -EAGAIN ? OBJECT_PARKED : OBJECT_REFUSED, &err, field);
	if (ret_field)
		*ret_field = field;
	if (ret_err)
		*ret_err = err;
	return rc;
}

static int answer_trouble(const struct object *obj, const char **ret_field, struct err *err)
{
	const struct trouble *t = obj->trouble;

	if (!t)
		return err_set(err, ENOMEM, "no memory for the reason");
	*ret_field = t->field;
	return err_set(err, t->code, "%s", t->text);
}

int objects_set(struct objects *o, unsigned part, const void *whole, const char **ret_field,
		struct err *err)
{
	const struct feature *f = o->parts[part].feature;
	size_t len = frame_trim(whole, f->msg_size, f->key_size);
	uint32_t hash = hash_bytes(part, whole, f->key_size);
	const uint8_t *key_end = pack_bytes(o->pack, whole, f->key_size);
	size_t packed =
		(size_t)(pack_bytes(o->pack + (key_end - o->pack),
				    (const uint8_t *)whole + f->key_size, len - f->key_size) -
			 o->pack);
	struct object **link = find_packed(o, part, o->pack, (size_t)(key_end - o->pack), hash);
	struct object *obj = *link, *fresh = obj;
	const void *old = NULL;

	*ret_field = "";
	if (obj)
		obj->generation = o->lists[part].generation;
	if (obj && obj->len == len && obj->packed == packed &&
	    !memcmp(obj->pack, o->pack, packed)) {
		if (obj->state == OBJECT_APPLIED)
			return 0;
		/* Whatever it waits for will wake it. */
		if (obj->state == OBJECT_PARKED)
			return answer_trouble(obj, ret_field, err);
		leave_state(o, obj);
		return apply(o, obj, whole, NULL, ret_field, err);
	}

	if (!obj || obj->packed != packed) {
		fresh = pool_get(object_size(packed));
		/* The object as it was stays: SET is all or nothing. */
		if (!fresh)
			return err_set(err, ENOMEM, "no memory for the object");
	}
	if (!obj) {
		*fresh = (struct object){
			.hash = hash,
			.part = (uint8_t)part,
			.packed = (uint16_t)packed,
			.generation = o->lists[part].generation,
		};
		*link = fresh;
		list_put(o, fresh, NULL);
		if (++o->n > o->n_buckets)
			grow(o);
	} else {
		leave_state(o, obj);
		o->lists[part].sum -= sum_of(o, obj);
		if (obj->state == OBJECT_APPLIED) {
			object_whole(o, obj, o->old_whole, f->msg_size);
			old = o->old_whole;
		}
		if (fresh != obj) {
			*fresh = *obj;
			fresh->packed = (uint16_t)packed;
			if (fresh->trouble)
				fresh->trouble->object = fresh;
			*link = fresh;
			list_put(o, fresh, obj);
			move_cursors(o, obj, fresh);
			object_free(obj);
		}
	}
	fresh->len = (uint16_t)len;
	memcpy(fresh->pack, o->pack, packed);
	o->lists[part].sum += hash_bytes(0, whole, len);
	return apply(o, fresh, whole, old, ret_field, err);
}

static void delete(struct objects *o, struct object **link)
{
	struct object *obj = *link;
	const struct fpm_part *part = &o->parts[obj->part];

	leave_state(o, obj);
	o->lists[obj->part].sum -= sum_of(o, obj);
	if (obj->state == OBJECT_APPLIED || obj->priv) {
		if (part->apply && part->apply->del) {
			object_whole(o, obj, o->old_whole, part->feature->msg_size);
			part->apply->del(o->fpm, o->old_whole, obj->priv);
		}
		content_changed(o);
	}
	*link = obj->chain;
	list_take(o, obj);
	move_cursors(o, obj, obj->next);
	o->n--;
	free(obj->trouble);
	object_free(obj);
}

void objects_del(struct objects *o, unsigned part, const void *key)
{
	struct object **link = find_link(o, part, key);

	if (*link)
		delete (o, link);
}

void objects_sync_begin(struct objects *o, unsigned part)
{
	o->lists[part].generation++;
	o->lists[part].syncing = true;
}

int objects_sync_end(struct objects *o, unsigned part, struct err *err)
{
	struct object_list *list = &o->lists[part];
	struct object *next;
	int n = 0;

	if (!list->syncing)
		return err_set(err, EINVAL, "SYNC_END of %s without a SYNC_BEGIN",
			       o->parts[part].feature->name);
	list->syncing = false;
	list->synced = true;
	for (struct object *obj = list->first; obj; obj = next) {
		next = obj->next;
		if (obj->generation == list->generation)
			continue;
		delete (o, link_of(o, obj));
		n++;
	}
	return n;
}

void objects_sync_abort(struct objects *o, unsigned part)
{
	o->lists[part].syncing = false;
}

static bool retry_queue(struct objects *o, struct trouble_queue *q, uint32_t failures_max,
			unsigned *budget)
{
	while (q->left) {
		struct object *obj = q->first->object;

		if (!*budget)
			return true;
		--*budget;
		q->left--;
		object_whole(o, obj, o->new_whole, o->parts[obj->part].feature->msg_size);
		leave_state(o, obj);
		/* Where it fails again, it goes to the end of the queue. */
		q->failures = apply(o, obj, o->new_whole, NULL, NULL, NULL) ? q->failures + 1 : 0;
		if (q->failures >= failures_max)
			q->left = 0;
	}
	return false;
}

void objects_wake_starved(struct objects *o)
{
	o->fpm->freed = false;
	for (unsigned i = 0; i < o->n_parts; i++) {
		o->lists[i].starved.left = o->lists[i].starved.n;
		o->lists[i].starved.failures = 0;
	}
}

bool objects_retry(struct objects *o, unsigned budget)
{
	bool left = false;

	for (unsigned i = 0; i < o->n_parts; i++) {
		left |= retry_queue(o, &o->lists[i].parked, UINT32_MAX, &budget);
		left |= retry_queue(o, &o->lists[i].starved, STARVED_FAILURES, &budget);
	}
	/* A success further down may have woken one further up. */
	for (unsigned i = 0; i < o->n_parts; i++)
		left |= o->lists[i].parked.left || o->lists[i].starved.left;
	return left;
}

void objects_cursor(struct objects *o, struct object_cursor *cursor, unsigned part)
{
	*cursor = (struct object_cursor){.next = o->cursors, .at = o->lists[part].first};
	o->cursors = cursor;
}

const struct object *objects_cursor_next(struct object_cursor *cursor)
{
	const struct object *at = cursor->at;

	if (at)
		cursor->at = at->next;
	return at;
}

void objects_cursor_close(struct objects *o, struct object_cursor *cursor)
{
	for (struct object_cursor **link = &o->cursors; *link; link = &(*link)->next) {
		if (*link == cursor) {
			*link = cursor->next;
			return;
		}
	}
}
