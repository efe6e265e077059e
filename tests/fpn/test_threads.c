// SPDX-License-Identifier: BSD-3-Clause
/* What passes between threads: messages, packets between workers, and garbage that a reader may still hold. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <rte_cycles.h>
#include <rte_eal.h>

#include "fpn/gc.h"
#include "fpn/intercore.h"
#include "fpn/message.h"

#define MESSAGES 20000
#define SENDERS	 3
#define PACKETS	 200000
#define OBJECTS	 3000

static _Atomic bool stop;

static pthread_t start_thread(void *(*run)(void *), void *arg)
{
	pthread_t thread;

	assert_int_equal(pthread_create(&thread, NULL, run, arg), 0);
	return thread;
}

/* --- messages --- */

struct sender {
	struct mailbox *box;
	struct message messages[MESSAGES];
	unsigned called; /* the worker's */
};

static unsigned called;

static void call(void *worker, void *arg)
{
	struct sender *s = arg;

	assert_ptr_equal(worker, &called);
	/* Only one thread calls, so this needs no lock. */
	s->called++;
	called++;
}

static void *send_all(void *arg)
{
	struct sender *s = arg;

	for (unsigned i = 0; i < MESSAGES; i++)
		message_send(s->box, &s->messages[i], call, s);
	return NULL;
}

static void all_messages_of_all_senders_are_called_once(void **state)
{
	static struct mailbox box;
	static struct sender senders[SENDERS];
	pthread_t threads[SENDERS];
	uint64_t until = rte_rdtsc() + 60 * rte_get_tsc_hz();
	unsigned n = 0;

	called = 0;
	for (unsigned i = 0; i < SENDERS; i++) {
		senders[i].box = &box;
		threads[i] = start_thread(send_all, &senders[i]);
	}
	while (n < SENDERS * MESSAGES && rte_rdtsc() < until)
		if (message_waits(&box))
			n += message_run(&box, &called);
	for (unsigned i = 0; i < SENDERS; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(n, SENDERS * MESSAGES);
	assert_int_equal(called, n);
	assert_false(message_waits(&box));
	for (unsigned i = 0; i < SENDERS; i++)
		assert_int_equal(senders[i].called, MESSAGES);
	for (unsigned i = 0; i < SENDERS; i++)
		for (unsigned j = 0; j < MESSAGES; j++)
			assert_true(message_done(&senders[i].messages[j]));
}

static void note_order(void *worker, void *arg)
{
	unsigned **at = worker;

	*(*at)++ = (unsigned)(uintptr_t)arg;
}

static void messages_are_called_in_their_order(void **state)
{
	struct mailbox box = {};
	struct message messages[8];
	unsigned order[8], *at = order;

	for (unsigned i = 0; i < 8; i++) {
		message_send(&box, &messages[i], note_order, (void *)(uintptr_t)i);
		assert_false(message_done(&messages[i]));
	}
	assert_int_equal(message_run(&box, &at), 8);
	for (unsigned i = 0; i < 8; i++)
		assert_int_equal(order[i], i);
	assert_int_equal(message_run(&box, &at), 0);
}

/* --- packets --- */

static void *receive(void *arg)
{
	struct intercore *way = arg;
	struct rte_mbuf *pkts[32];
	uintptr_t next = 1;

	while (next <= PACKETS) {
		uint32_t n = intercore_take(way, pkts, 32);

		for (uint32_t i = 0; i < n; i++)
			if ((uintptr_t)pkts[i] != next++)
				return (void *)1;
		intercore_finish(way, n);
	}
	return NULL;
}

static void packets_arrive_in_order_and_are_seen_through(void **state)
{
	struct intercore *way = intercore_create(0, 1, 256);
	struct rte_mbuf *pkts[64];
	pthread_t thread;
	uintptr_t next = 1;
	void *wrong;

	assert_non_null(way);
	assert_int_equal(intercore_room(way), 256);
	/* Its numbers wrap around on the way. */
	way->sent = way->seen = UINT32_MAX - 1000;
	atomic_store(&way->done, way->sent);
	thread = start_thread(receive, way);
	while (next <= PACKETS) {
		uint32_t n = (uint32_t)RTE_MIN(64U, PACKETS - next + 1);

		n = RTE_MIN(n, intercore_room(way));
		for (uint32_t i = 0; i < n; i++)
			pkts[i] = (struct rte_mbuf *)next++;
		if (n)
			intercore_send(way, pkts, n);
		way->seen = intercore_done(way);
		assert_true(intercore_room(way) <= 256);
	}
	pthread_join(thread, &wrong);
	assert_null(wrong);
	way->seen = intercore_done(way);
	assert_true(intercore_is_through(way, way->sent));
	assert_false(intercore_is_through(way, way->sent + 1));
	assert_int_equal(intercore_room(way), 256);
}

/* --- garbage --- */

struct object {
	uint64_t life; /* ALIVE, or what free leaves */
	struct gc_item gc;
};

#define ALIVE 0x11fe11fe11feULL

static struct object *_Atomic shown;
static struct worker_row rows[WORKERS_MAX];
static unsigned freed;

static void free_object(struct gc_item *item)
{
	struct object *o = (struct object *)((char *)item - offsetof(struct object, gc));

	o->life = 0;
	free(o);
	freed++;
}

/* A worker: reads what is shown over and over within one turn. */
static void *read_objects(void *arg)
{
	struct worker_row *row = arg;
	uintptr_t wrong = 0;

	quiesce_online(row);
	while (!atomic_load(&stop)) {
		struct object *o;

		quiesce_point(row);
		o = atomic_load(&shown);
		for (unsigned i = 0; i < 50; i++)
			wrong |= *(volatile uint64_t *)&o->life != ALIVE;
	}
	quiesce_offline(row);
	return (void *)wrong;
}

static struct object *new_object(void)
{
	struct object *o = calloc(1, sizeof(*o));

	assert_non_null(o);
	o->life = ALIVE;
	return o;
}

static void no_reader_meets_freed_memory(void **state)
{
	uint64_t until = rte_rdtsc() + 60 * rte_get_tsc_hz();
	pthread_t readers[2];
	struct gc gc;

	freed = 0;
	atomic_store(&stop, false);
	atomic_store(&shown, new_object());
	gc_init(&gc, rows);
	for (unsigned i = 0; i < 2; i++)
		readers[i] = start_thread(read_objects, &rows[i]);
	for (unsigned i = 0; i < OBJECTS; i++) {
		struct object *before = atomic_exchange(&shown, new_object());

		gc_later(&gc, &before->gc, free_object);
		gc_run(&gc);
		if (i % 16 == 0)
			rte_delay_us_sleep(200);
	}
	while (gc_run(&gc) && rte_rdtsc() < until)
		rte_delay_us_sleep(100);
	assert_int_equal(freed, OBJECTS);
	atomic_store(&stop, true);
	for (unsigned i = 0; i < 2; i++) {
		void *wrong;

		pthread_join(readers[i], &wrong);
		assert_null(wrong);
	}
	free(atomic_load(&shown));
}

static void what_a_reader_may_hold_stays(void **state)
{
	struct object *o = new_object();
	struct gc gc;

	freed = 0;
	gc_init(&gc, rows);
	quiesce_online(&rows[5]);
	gc_later(&gc, &o->gc, free_object);
	for (unsigned i = 0; i < 20; i++) {
		assert_int_equal(gc_run(&gc), 1);
		rte_delay_us_sleep(50);
	}
	quiesce_offline(&rows[5]);
	assert_int_equal(gc_run(&gc), 0);
	assert_int_equal(freed, 1);
}

static int start(void **state)
{
	char *argv[] = {"test", "--no-huge", "--no-pci", "--no-shconf", "--no-telemetry",
			"-m",	"64",	     "--lcores", "0@0",		"--log-level=error"};

	return rte_eal_init(RTE_DIM(argv), argv) < 0 ? -1 : 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_messages_of_all_senders_are_called_once),
		cmocka_unit_test(messages_are_called_in_their_order),
		cmocka_unit_test(packets_arrive_in_order_and_are_seen_through),
		cmocka_unit_test(no_reader_meets_freed_memory),
		cmocka_unit_test(what_a_reader_may_hold_stays),
	};

	return cmocka_run_group_tests(tests, start, NULL);
}
