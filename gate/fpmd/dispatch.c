// SPDX-License-Identifier: BSD-3-Clause
#include "fpmd/dispatch.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "fpc/check.h"
#include "lib/log.h"

/* Objects tried again between two looks at the sockets. */
#define RETRY_BUDGET 1024
/* Those without room are tried again when rows came back, but not more often than this; */
#define STARVED_MS 100
/* and in any case now and then, for not each try has tried all. */
#define STARVED_IDLE_MS 1000

static const char *role_name(uint32_t role)
{
	static const char *const names[] = {
		[FPC_ROLE_SYNC] = "sync",
		[FPC_ROLE_RTE] = "rte",
		[FPC_ROLE_VIEWER] = "viewer",
	};

	return role < sizeof(names) / sizeof(names[0]) && names[role] ? names[role] : "?";
}

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

int dispatch_init(struct dispatch *d, struct fpm *fpm, const struct fpm_part *parts,
		  unsigned n_parts, struct err *err)
{
	int rc;

	*d = (struct dispatch){.fpm = fpm};
	if (posix_memalign((void **)&d->whole, 64, FPC_MAX_BODY))
		return err_set(err, ENOMEM, "no memory for frames");
	rc = objects_init(&d->objects, fpm, parts, n_parts, err);
	if (rc) {
		free(d->whole);
		d->whole = NULL;
	}
	return rc;
}

void dispatch_free(struct dispatch *d)
{
	while (d->peers)
		dispatch_close(d, d->peers);
	objects_free(&d->objects);
	free(d->whole);
	*d = (struct dispatch){};
}

struct peer *dispatch_peer(struct dispatch *d)
{
	struct peer *peer = calloc(1, sizeof(*peer));

	if (!peer)
		return NULL;
	peer->id = ++d->last_id;
	snprintf(peer->name, sizeof(peer->name), "#%u", peer->id);
	peer->next = d->peers;
	d->peers = peer;
	return peer;
}

static bool owned_by(const struct dispatch *d, unsigned part, uint32_t role)
{
	const struct feature *f = d->objects.parts[part].feature;

	return f->msg_size && f->owner == role;
}

void dispatch_close(struct dispatch *d, struct peer *peer)
{
	for (struct peer **link = &d->peers; *link; link = &(*link)->next) {
		if (*link == peer) {
			*link = peer->next;
			break;
		}
	}
	/* Not if it was found dead and has a successor already. */
	if (peer->role && !dispatch_role(d, peer->role)) {
		for (unsigned i = 0; i < d->objects.n_parts; i++)
			if (owned_by(d, i, peer->role))
				objects_sync_abort(&d->objects, i);
	}
	if (peer->dumping)
		objects_cursor_close(&d->objects, &peer->dump);
	frame_in_free(&peer->in);
	frame_out_free(&peer->out);
	free(peer);
}

static void put(struct dispatch *d, struct peer *peer, const struct fpc_frame *head,
		const void *body, size_t len)
{
	if (frame_put(&peer->out, head->verb, head->feature, head->flags, head->seq, body, len)) {
		/* An answer left out would be taken for another's. */
		log_err("no memory to answer %s: closing the connection", peer->name);
		peer->closing = true;
		return;
	}
	/* Nothing secret goes out. */
	record_frame(d->record, peer->id, peer->name, "out", head, feature_find(head->feature),
		     body, len);
}

static void put_ack(struct dispatch *d, struct peer *peer, uint16_t feature, uint16_t verb,
		    uint32_t seq, int code, const char *field, const char *text)
{
	struct fpc_frame head = {.verb = FPC_ACK, .feature = feature, .seq = seq};
	struct fpc_ack ack = {.error = code, .feature = feature, .verb = verb};

	snprintf(ack.field, sizeof(ack.field), "%s", field);
	snprintf(ack.text, sizeof(ack.text), "%s", text);
	put(d, peer, &head, &ack, frame_trim(&ack, sizeof(ack), 8));
}

static void put_events(struct dispatch *d, struct peer *peer)
{
	for (uint32_t kind = 1; peer->events >> kind; kind++) {
		struct fpc_frame head = {.verb = FPC_EVENT};
		struct fpc_event event = {.kind = kind};

		if (!(peer->events >> kind & 1) || frame_out_len(&peer->out) >= PEER_OUT_MAX)
			continue;
		peer->events &= ~(1U << kind);
		put(d, peer, &head, &event, sizeof(event));
	}
}

struct peer *dispatch_role(const struct dispatch *d, enum fpc_role role)
{
	for (struct peer *p = d->peers; p; p = p->next)
		if (p->role == role && !p->closing)
			return p;
	return NULL;
}

static int hello(struct dispatch *d, struct peer *peer, const struct fpc_hello *msg,
		 const char **ret_field, struct err *err)
{
	struct fpc_frame head = {.verb = FPC_HELLO};
	struct fpc_hello answer = {.version = FPC_VERSION, .name = "fpmd"};
	struct peer *other;

	if (peer->role)
		return err_set(err, EALREADY, "a second HELLO");
	switch (msg->role) {
	case FPC_ROLE_SYNC:
	case FPC_ROLE_RTE:
		other = dispatch_role(d, msg->role);
		if (other && (!d->alive || d->alive(other))) {
			*ret_field = "role";
			return err_set(err, EBUSY, "%s has the role '%s' already", other->name,
				       role_name(msg->role));
		}
		/* What the dead one still has in the queue must not meddle with its successor. */
		if (other)
			other->closing = true;
		break;
	case FPC_ROLE_VIEWER:
		break;
	default:
		*ret_field = "role";
		return err_set(err, EINVAL, "unknown role %u", msg->role);
	}
	peer->role = msg->role;
	if (msg->name[0])
		snprintf(peer->name, sizeof(peer->name), "%s", msg->name);
	log_debug("%s is here, role '%s'", peer->name, role_name(peer->role));
	put(d, peer, &head, &answer, sizeof(answer));
	/* It may have attached a file that was replaced before it came here. */
	if (peer->role == FPC_ROLE_RTE && d->fpm->published)
		peer->events |= 1U << FPC_EVENT_PUBLISHED;
	put_events(d, peer);
	return 0;
}

void dispatch_refuse(struct dispatch *d, struct peer *peer, int code, const char *text)
{
	put_ack(d, peer, 0, 0, 0, code, "", text);
	peer->closing = true;
}

static int may_change(const struct peer *peer, const struct feature *f, struct err *err)
{
	if (f->owner == peer->role)
		return 0;
	return err_set(err, EPERM, "objects of %s belong to the role '%s', not '%s'", f->name,
		       role_name(f->owner), role_name(peer->role));
}

/* Until nothing hopes any more: a success always shortens a queue, so this ends. */
static void settle(struct dispatch *d)
{
	objects_wake_starved(&d->objects);
	while (objects_retry(&d->objects, RETRY_BUDGET))
		;
}

/* Parts that a SYNC frame names: one, or all of the peer's role. */
static uint64_t sync_parts(const struct dispatch *d, const struct peer *peer,
			   const struct fpc_frame *head)
{
	uint64_t parts = 0;

	for (unsigned i = 0; i < d->objects.n_parts; i++)
		if (head->feature ? d->objects.parts[i].feature->id == head->feature
				  : owned_by(d, i, peer->role))
			parts |= 1ULL << i;
	return parts;
}

static int sync(struct dispatch *d, struct peer *peer, const struct fpc_frame *head,
		const struct feature *feature, struct err *err)
{
	uint64_t parts = sync_parts(d, peer, head);
	int swept = 0, rc;

	if (feature) {
		rc = may_change(peer, feature, err);
		if (rc)
			return rc;
	} else if (!parts) {
		return err_set(err, EPERM, "no objects belong to the role '%s'",
			       role_name(peer->role));
	}
	if (head->verb == FPC_SYNC_BEGIN) {
		for (unsigned i = 0; i < d->objects.n_parts; i++)
			if (parts >> i & 1)
				objects_sync_begin(&d->objects, i);
		return 0;
	}
	for (unsigned i = 0; i < d->objects.n_parts; i++)
		if ((parts >> i & 1) && !d->objects.lists[i].syncing)
			return err_set(err, EINVAL, "SYNC_END of %s without a SYNC_BEGIN",
				       d->objects.parts[i].feature->name);
	settle(d);
	/* First what stands on others, then these. */
	for (unsigned i = d->objects.n_parts; i-- > 0;) {
		if (!(parts >> i & 1))
			continue;
		rc = objects_sync_end(&d->objects, i, err);
		if (rc < 0)
			return rc;
		swept += rc;
	}
	settle(d);
	log_info("%s has synchronized %s, stale objects deleted: %d", peer->name,
		 feature ? feature->name : "everything", swept);
	return 0;
}

static void dump_begin(struct dispatch *d, struct peer *peer, const struct fpc_frame *head)
{
	peer->dumping = true;
	peer->dump_all = !head->feature;
	peer->dump_part = head->feature ? (unsigned)objects_part(&d->objects, head->feature) : 0;
	peer->dump_feature = head->feature;
	peer->dump_seq = head->seq;
	objects_cursor(&d->objects, &peer->dump, peer->dump_part);
}

static void put_object(struct dispatch *d, struct peer *peer, const struct object *obj)
{
	const struct feature *f = d->objects.parts[obj->part].feature;
	struct fpc_frame head = {.verb = FPC_SET, .feature = f->id, .seq = peer->dump_seq};

	if (obj->state == OBJECT_PARKED)
		head.flags |= FPC_F_PARKED;
	if (obj->state == OBJECT_REFUSED)
		head.flags |= FPC_F_REFUSED;
	object_whole(&d->objects, obj, d->whole, obj->len);
	feature_mask(f, d->whole, obj->len);
	put(d, peer, &head, d->whole, obj->len);
	if (obj->state == OBJECT_REFUSED) {
		const struct trouble *t = obj->trouble;

		put_ack(d, peer, f->id, FPC_SET, peer->dump_seq, t ? t->code : ENOMEM,
			t ? t->field : "", t ? t->text : "no memory for the reason");
	}
}

static void dump_go_on(struct dispatch *d, struct peer *peer)
{
	const struct object *obj;

	while (!peer->closing && frame_out_len(&peer->out) < PEER_OUT_MAX) {
		obj = objects_cursor_next(&peer->dump);
		if (obj) {
			put_object(d, peer, obj);
			continue;
		}
		objects_cursor_close(&d->objects, &peer->dump);
		if (peer->dump_all && ++peer->dump_part < d->objects.n_parts) {
			objects_cursor(&d->objects, &peer->dump, peer->dump_part);
			continue;
		}
		peer->dumping = false;
		put_ack(d, peer, peer->dump_feature, FPC_DUMP, peer->dump_seq, 0, "", "");
		return;
	}
}

static void handle(struct dispatch *d, struct peer *peer, const struct fpc_frame *head,
		   const void *body, size_t len)
{
	int part = head->feature ? objects_part(&d->objects, head->feature) : -1;
	const struct feature *feature = part >= 0 ? d->objects.parts[part].feature : NULL;
	const char *field = "";
	struct err err = {};
	int rc;

	record_frame(d->record, peer->id, peer->name, "in", head, feature, body, len);
	rc = check_frame(head, body, len, feature, d->whole, &field, &err);
	if (!peer->role && head->verb != FPC_HELLO)
		rc = err_set(&err, EPROTO, "the first frame must be HELLO");
	if (!rc) {
		switch (head->verb) {
		case FPC_HELLO:
			rc = hello(d, peer, (const struct fpc_hello *)d->whole, &field, &err);
			break;
		case FPC_SET:
			rc = may_change(peer, feature, &err);
			if (!rc)
				rc = objects_set(&d->objects, (unsigned)part, d->whole, &field,
						 &err);
			break;
		case FPC_DEL:
			rc = may_change(peer, feature, &err);
			if (!rc)
				objects_del(&d->objects, (unsigned)part, d->whole);
			break;
		case FPC_AUDIT:
			if (!objects_audit(&d->objects, (unsigned)part,
					   (const struct fpc_audit *)d->whole))
				rc = err_set(&err, EILSEQ, "the objects of %s are others",
					     feature->name);
			break;
		case FPC_SYNC_BEGIN:
		case FPC_SYNC_END:
			rc = sync(d, peer, head, feature, &err);
			break;
		case FPC_DUMP:
			dump_begin(d, peer, head);
			return; /* its ACK comes at the end in any case */
		}
	}
	/* Parked isn't wrong: the object is taken, and the ACK's text says what it waits for. */
	if (rc == -EAGAIN && head->verb == FPC_SET) {
		if (head->flags & FPC_F_ACK)
			put_ack(d, peer, head->feature, head->verb, head->seq, 0, field, err.text);
		return;
	}
	if (rc || (head->flags & FPC_F_ACK))
		put_ack(d, peer, head->feature, head->verb, head->seq, -rc, field,
			rc ? err.text : "");
	if (rc && !peer->role) {
		log_warn("client %s is refused: %s", peer->name, err.text);
		peer->closing = true;
	} else if (rc && head->verb != FPC_SET) {
		/* A refused object was logged with its key. */
		log_debug("%s: %s", peer->name, err.text);
	}
}

bool peer_blocked(const struct peer *peer)
{
	return peer->closing || peer->dumping || frame_out_len(&peer->out) >= PEER_OUT_MAX;
}

void dispatch_frames(struct dispatch *d, struct peer *peer)
{
	while (!peer_blocked(peer)) {
		struct err err = {};
		struct fpc_frame head;
		const uint8_t *body;
		size_t len;
		int rc = frame_next(&peer->in, &head, &body, &len, &err);

		if (!rc)
			return;
		if (rc < 0) {
			log_warn("%s: %s: closing the connection", peer->name, err.text);
			dispatch_refuse(d, peer, -rc, err.text);
			return;
		}
		handle(d, peer, &head, body, len);
		if (peer->dumping)
			dump_go_on(d, peer);
	}
}

ssize_t dispatch_bytes(struct dispatch *d, struct peer *peer, const void *bytes, size_t len)
{
	const uint8_t *b = bytes;
	size_t taken = 0;

	while (taken < len && !peer_blocked(peer)) {
		size_t room, n = len - taken;
		uint8_t *space = frame_in_space(&peer->in, &room);

		if (!space)
			return -ENOMEM;
		if (n > room)
			n = room;
		memcpy(space, b + taken, n);
		frame_in_add(&peer->in, n);
		taken += n;
		dispatch_frames(d, peer);
	}
	return (ssize_t)taken;
}

void dispatch_drained(struct dispatch *d, struct peer *peer)
{
	if (peer->dumping)
		dump_go_on(d, peer);
	put_events(d, peer);
	dispatch_frames(d, peer);
}

void dispatch_event(struct dispatch *d, enum fpc_role role, enum fpc_event_kind kind)
{
	for (struct peer *p = d->peers; p; p = p->next) {
		if (p->role != role || p->closing)
			continue;
		p->events |= 1U << kind;
		put_events(d, p);
	}
}

static bool any_starved(const struct dispatch *d)
{
	for (unsigned i = 0; i < d->objects.n_parts; i++)
		if (d->objects.lists[i].starved.n)
			return true;
	return false;
}

int dispatch_work(struct dispatch *d)
{
	int ret = -1;

	/* Workers pass a quiescent point within microseconds; one that is stopped shouldn't keep us busy. */
	if (fpm_defer_work(d->fpm))
		ret = d->wait = d->wait < 1 ? 1 : d->wait < 50 ? d->wait * 2 : 50;
	else
		d->wait = 0;
	if (any_starved(d)) {
		uint64_t age = now_ms() - d->starved_at;
		uint64_t due = d->fpm->freed ? STARVED_MS : STARVED_IDLE_MS;

		if (age >= due) {
			d->starved_at = now_ms();
			objects_wake_starved(&d->objects);
		} else if (ret < 0 || (uint64_t)ret > due - age) {
			ret = (int)(due - age);
		}
	}
	if (objects_retry(&d->objects, RETRY_BUDGET))
		ret = 0;
	if (d->fpm->changed) {
		d->fpm->changed = false;
		dispatch_event(d, FPC_ROLE_RTE, FPC_EVENT_CHANGED);
	}
	return ret;
}

bool dispatch_synced(const struct dispatch *d, enum fpc_role role)
{
	for (unsigned i = 0; i < d->objects.n_parts; i++)
		if (owned_by(d, i, role) && !d->objects.lists[i].synced)
			return false;
	return true;
}
