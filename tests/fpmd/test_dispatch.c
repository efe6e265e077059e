// SPDX-License-Identifier: BSD-3-Clause
/* Conversations without sockets: what clients of each role send, byte for byte, and what they get back. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "fake.h"
#include "fpc/record.h"
#include "lib/log.h"

static struct shm_header header;
static struct fpm fpm;
static struct dispatch d;
static struct peer *cmgrd, *rte;
static uint32_t seq;

static struct peer *hello(uint32_t role, const char *name)
{
	struct fpc_hello h = {.version = FPC_VERSION, .role = role};
	struct peer *peer = dispatch_peer(&d);
	struct frame_out out = {};

	snprintf(h.name, sizeof(h.name), "%s", name);
	frame_put(&out, FPC_HELLO, 0, 0, 0, &h, sizeof(h));
	assert_int_equal(dispatch_bytes(&d, peer, out.data, out.end), out.end);
	frame_out_free(&out);
	return peer;
}

/* The next frame that waits for @peer: its verb, 0 for none. */
static struct fpc_frame pop(struct peer *peer, void *ret_body, size_t size)
{
	struct fpc_frame head = {};
	size_t n;

	if (!frame_out_len(&peer->out))
		return head;
	memcpy(&head, peer->out.data + peer->out.start, sizeof(head));
	n = head.len - sizeof(head);
	memset(ret_body, 0, size);
	memcpy(ret_body, peer->out.data + peer->out.start + sizeof(head), n < size ? n : size);
	frame_out_sent(&peer->out, head.len);
	return head;
}

static int set_up(void **state)
{
	uint8_t body[64];

	header = (struct shm_header){};
	fpm = (struct fpm){.config.header = &header};
	memset(fake_applied, 0, sizeof(fake_applied));
	fake_room = false;
	fake_forget();
	if (dispatch_init(&d, &fpm, fake_parts, N_PARTS, NULL))
		return -1;
	d.objects.quiet = true;
	cmgrd = hello(FPC_ROLE_SYNC, "cmgrd");
	rte = hello(FPC_ROLE_RTE, "fp-rte");
	return pop(cmgrd, body, sizeof(body)).verb != FPC_HELLO ||
	       pop(rte, body, sizeof(body)).verb != FPC_HELLO;
}

static int tear_down(void **state)
{
	dispatch_free(&d);
	fpm_defer_drop(&fpm);
	return 0;
}

static void post(struct peer *peer, uint16_t verb, uint16_t feature, uint16_t flags,
		 const void *body, size_t len)
{
	struct frame_out out = {};

	frame_put(&out, verb, feature, flags, ++seq, body, len);
	assert_int_equal(dispatch_bytes(&d, peer, out.data, out.end), out.end);
	frame_out_free(&out);
}

/* Sends a frame that wants an answer and returns that. */
static struct fpc_ack ask(struct peer *peer, uint16_t verb, uint16_t feature, const void *body,
			  size_t len)
{
	struct fpc_frame head;
	struct fpc_ack ack;

	post(peer, verb, feature, FPC_F_ACK, body, len);
	do
		head = pop(peer, &ack, sizeof(ack));
	while (head.verb == FPC_EVENT);
	assert_int_equal(head.verb, FPC_ACK);
	assert_int_equal(head.seq, seq);
	assert_int_equal(ack.verb, verb);
	assert_int_equal(ack.feature, feature);
	return ack;
}

static struct fpc_ack set(struct peer *peer, uint16_t feature, uint32_t id, uint32_t value,
			  uint32_t base)
{
	struct thing t = {.id = id, .value = value, .base = base};

	return ask(peer, FPC_SET, feature, &t, sizeof(t));
}

static void objects_come_and_go(void **state)
{
	uint32_t id = 1;

	assert_int_equal(set(cmgrd, BASE, 1, 5, 0).error, 0);
	assert_int_equal(set(cmgrd, BASE, 1, 6, 0).error, 0);
	assert_int_equal(ask(cmgrd, FPC_DEL, BASE, &id, sizeof(id)).error, 0);
	assert_int_equal(ask(cmgrd, FPC_DEL, BASE, &id, sizeof(id)).error, 0);
	assert_string_equal(fake_log, "set base 1=5;set base 1=6 was 5;del base 1=6;");
}

static void errors_come_unasked_and_successes_dont(void **state)
{
	struct thing t = {.id = 1, .value = 5};
	struct fpc_frame head;
	struct fpc_ack ack;

	post(cmgrd, FPC_SET, BASE, 0, &t, sizeof(t));
	assert_int_equal(frame_out_len(&cmgrd->out), 0);
	t.value = 666;
	post(cmgrd, FPC_SET, BASE, 0, &t, sizeof(t));
	head = pop(cmgrd, &ack, sizeof(ack));
	assert_int_equal(head.verb, FPC_ACK);
	assert_int_equal(head.seq, seq);
	assert_int_equal(ack.error, EINVAL);
	assert_string_equal(ack.field, "value");
	assert_string_equal(ack.text, "thing 1: no");
}

static void a_parked_object_is_no_error_and_says_what_it_waits_for(void **state)
{
	struct fpc_ack ack = set(cmgrd, CHILD, 1, 5, 9);
	struct thing t = {.id = 2, .base = 9};

	assert_int_equal(ack.error, 0);
	assert_string_equal(ack.text, "thing 1: no");
	post(cmgrd, FPC_SET, CHILD, 0, &t, sizeof(t));
	assert_int_equal(frame_out_len(&cmgrd->out), 0);
	set(cmgrd, BASE, 9, 1, 0);
	dispatch_work(&d);
	assert_true(fake_applied[PART_CHILD][1] && fake_applied[PART_CHILD][2]);
}

static void only_its_owner_changes_a_feature(void **state)
{
	struct peer *viewer = hello(FPC_ROLE_VIEWER, "fp-cli");
	uint8_t skip[64];

	pop(viewer, skip, sizeof(skip));
	assert_int_equal(set(rte, BASE, 1, 5, 0).error, EPERM);
	assert_int_equal(set(viewer, BASE, 1, 5, 0).error, EPERM);
	assert_int_equal(set(cmgrd, BOX, 1, 5, 0).error, EPERM);
	assert_int_equal(ask(cmgrd, FPC_SYNC_BEGIN, BOX, NULL, 0).error, EPERM);
	assert_int_equal(ask(viewer, FPC_SYNC_BEGIN, 0, NULL, 0).error, EPERM);
	assert_int_equal(ask(viewer, FPC_DEL, BASE, "\0\0\0\0", 4).error, EPERM);
	assert_int_equal(d.objects.n, 0);
	assert_int_equal(set(rte, BOX, 1, 5, 0).error, 0);
}

static void a_role_is_taken_once_until_its_holder_goes(void **state)
{
	struct peer *second = hello(FPC_ROLE_SYNC, "another");
	struct fpc_ack ack;

	assert_int_equal(pop(second, &ack, sizeof(ack)).verb, FPC_ACK);
	assert_int_equal(ack.error, EBUSY);
	assert_non_null(strstr(ack.text, "cmgrd"));
	assert_true(second->closing);
	dispatch_close(&d, second);
	dispatch_close(&d, cmgrd);
	second = hello(FPC_ROLE_SYNC, "another");
	assert_int_equal(pop(second, &ack, sizeof(ack)).verb, FPC_HELLO);
	/* Viewers are many. */
	assert_int_equal(pop(hello(FPC_ROLE_VIEWER, "a"), &ack, sizeof(ack)).verb, FPC_HELLO);
	assert_int_equal(pop(hello(FPC_ROLE_VIEWER, "b"), &ack, sizeof(ack)).verb, FPC_HELLO);
}

static bool dead(struct peer *peer)
{
	return false;
}

static void the_role_of_a_dead_client_is_free(void **state)
{
	struct peer *second;
	uint8_t body[64];

	ask(cmgrd, FPC_SYNC_BEGIN, 0, NULL, 0);
	d.alive = dead;
	second = hello(FPC_ROLE_SYNC, "cmgrd");
	assert_int_equal(pop(second, body, sizeof(body)).verb, FPC_HELLO);
	assert_true(cmgrd->closing);
	/* Its end doesn't disturb the successor's sync. */
	ask(second, FPC_SYNC_BEGIN, 0, NULL, 0);
	dispatch_close(&d, cmgrd);
	assert_int_equal(ask(second, FPC_SYNC_END, 0, NULL, 0).error, 0);
}

static void nobody_speaks_before_hello(void **state)
{
	struct peer *peer = dispatch_peer(&d);
	struct fpc_ack ack;

	post(peer, FPC_DUMP, 0, 0, NULL, 0);
	assert_int_equal(pop(peer, &ack, sizeof(ack)).verb, FPC_ACK);
	assert_int_equal(ack.error, EPROTO);
	assert_true(peer->closing);
	assert_int_equal(dispatch_bytes(&d, peer, "x", 1), 0);
}

static void a_wrong_hello_ends_it(void **state)
{
	struct fpc_hello h = {.version = 99, .role = FPC_ROLE_VIEWER};
	struct peer *peer = dispatch_peer(&d);
	struct fpc_ack ack;

	post(peer, FPC_HELLO, 0, 0, &h, sizeof(h));
	pop(peer, &ack, sizeof(ack));
	assert_int_equal(ack.error, EPROTO);
	assert_string_equal(ack.field, "version");
	assert_true(peer->closing);
	peer = hello(77, "x");
	pop(peer, &ack, sizeof(ack));
	assert_int_equal(ack.error, EINVAL);
	assert_string_equal(ack.field, "role");
	/* A second one is only an error. */
	h.version = FPC_VERSION;
	assert_int_equal(ask(cmgrd, FPC_HELLO, 0, &h, sizeof(h)).error, EALREADY);
	assert_false(cmgrd->closing);
}

static void nonsense_ends_the_conversation_with_an_answer(void **state)
{
	struct fpc_frame bad = {.len = 1 << 30, .head_len = 16, .verb = FPC_SET};
	struct fpc_ack ack;

	assert_int_equal(dispatch_bytes(&d, cmgrd, &bad, sizeof(bad)), sizeof(bad));
	assert_int_equal(pop(cmgrd, &ack, sizeof(ack)).verb, FPC_ACK);
	assert_int_equal(ack.error, EMSGSIZE);
	assert_true(cmgrd->closing);
}

static void a_sync_of_everything_sweeps_dependents_first(void **state)
{
	set(cmgrd, BASE, 1, 5, 0);
	set(cmgrd, BASE, 2, 5, 0);
	set(cmgrd, CHILD, 1, 5, 1);
	set(cmgrd, CHILD, 2, 5, 2);
	set(rte, BOX, 1, 5, 0);
	assert_int_equal(ask(cmgrd, FPC_SYNC_BEGIN, 0, NULL, 0).error, 0);
	set(cmgrd, BASE, 2, 5, 0);
	set(cmgrd, CHILD, 2, 5, 2);
	fake_forget();
	assert_int_equal(ask(cmgrd, FPC_SYNC_END, 0, NULL, 0).error, 0);
	assert_string_equal(fake_log, "del child 1=5;del base 1=5;");
	/* The other role's objects aren't touched. */
	assert_int_equal(d.objects.lists[PART_BOX].n[OBJECT_APPLIED], 1);
	assert_true(dispatch_synced(&d, FPC_ROLE_SYNC));
	assert_false(dispatch_synced(&d, FPC_ROLE_RTE));
}

static void parked_objects_settle_before_the_sync_is_over(void **state)
{
	ask(cmgrd, FPC_SYNC_BEGIN, 0, NULL, 0);
	set(cmgrd, CHILD, 1, 5, 1);
	set(cmgrd, BASE, 1, 5, 0);
	assert_false(fake_applied[PART_CHILD][1]);
	ask(cmgrd, FPC_SYNC_END, 0, NULL, 0);
	assert_true(fake_applied[PART_CHILD][1]);
}

static void a_sync_end_without_begin_is_refused_and_sweeps_nothing(void **state)
{
	set(cmgrd, BASE, 1, 5, 0);
	assert_int_equal(ask(cmgrd, FPC_SYNC_END, 0, NULL, 0).error, EINVAL);
	ask(cmgrd, FPC_SYNC_BEGIN, BASE, NULL, 0);
	/* All of the role's features must be open, or none is swept. */
	assert_int_equal(ask(cmgrd, FPC_SYNC_END, 0, NULL, 0).error, EINVAL);
	assert_int_equal(d.objects.n, 1);
	assert_int_equal(ask(cmgrd, FPC_SYNC_END, BASE, NULL, 0).error, 0);
	assert_int_equal(d.objects.n, 0);
	assert_false(dispatch_synced(&d, FPC_ROLE_SYNC));
}

static void a_lost_connection_leaves_the_state_and_ends_the_sync(void **state)
{
	uint8_t body[64];

	set(cmgrd, BASE, 1, 5, 0);
	ask(cmgrd, FPC_SYNC_BEGIN, 0, NULL, 0);
	dispatch_close(&d, cmgrd);
	assert_int_equal(d.objects.n, 1);
	cmgrd = hello(FPC_ROLE_SYNC, "cmgrd");
	pop(cmgrd, body, sizeof(body));
	assert_int_equal(ask(cmgrd, FPC_SYNC_END, 0, NULL, 0).error, EINVAL);
	assert_int_equal(d.objects.n, 1);
	assert_int_equal(ask(cmgrd, FPC_SYNC_BEGIN, 0, NULL, 0).error, 0);
	assert_int_equal(ask(cmgrd, FPC_SYNC_END, 0, NULL, 0).error, 0);
	assert_int_equal(d.objects.n, 0);
}

static void a_dump_tells_how_each_object_stands(void **state)
{
	union {
		struct thing t;
		struct fpc_ack ack;
	} body;
	struct fpc_frame head;

	set(cmgrd, BASE, 1, 5, 0);
	set(cmgrd, BASE, 2, 666, 0);
	set(cmgrd, CHILD, 3, 5, 40);
	post(cmgrd, FPC_DUMP, 0, 0, NULL, 0);
	head = pop(cmgrd, &body, sizeof(body));
	assert_int_equal(head.verb, FPC_SET);
	assert_int_equal(head.seq, seq);
	assert_int_equal(head.flags, 0);
	assert_int_equal(body.t.id, 1);
	assert_int_equal(body.t.value, 5);
	head = pop(cmgrd, &body, sizeof(body));
	assert_int_equal(head.flags, FPC_F_REFUSED);
	assert_int_equal(body.t.value, 666);
	head = pop(cmgrd, &body, sizeof(body));
	assert_int_equal(head.verb, FPC_ACK);
	assert_int_equal(body.ack.verb, FPC_SET);
	assert_int_equal(body.ack.error, EINVAL);
	assert_string_equal(body.ack.text, "thing 2: no");
	head = pop(cmgrd, &body, sizeof(body));
	assert_int_equal(head.feature, CHILD);
	assert_int_equal(head.flags, FPC_F_PARKED);
	head = pop(cmgrd, &body, sizeof(body));
	assert_int_equal(head.verb, FPC_ACK);
	assert_int_equal(body.ack.verb, FPC_DUMP);
	assert_int_equal(body.ack.error, 0);
	assert_int_equal(frame_out_len(&cmgrd->out), 0);
}

static void secrets_are_neither_dumped_nor_recorded(void **state)
{
	struct peer *viewer = hello(FPC_ROLE_VIEWER, "fp-cli");
	struct thing t = {.id = 1,
			  .value = 5,
			  .more = {0x11111111, 0x22222222, 0x33333333, 0x44444444, 0x55555555}};
	char path[] = "/tmp/sluice-record-XXXXXX", text[4096] = "";
	struct fpc_frame head;
	struct thing shown;
	FILE *file;

	close(mkstemp(path));
	assert_int_equal(record_open(&d.record, path, NULL), 0);
	pop(viewer, &shown, sizeof(shown));
	assert_int_equal(ask(cmgrd, FPC_SET, BASE, &t, sizeof(t)).error, 0);
	/* A refused one is shown with its reason, not with its secret. */
	t.id = 2;
	t.value = 666;
	assert_int_equal(ask(cmgrd, FPC_SET, BASE, &t, sizeof(t)).error, EINVAL);
	for (unsigned i = 0; i < 2; i++) {
		const uint32_t more[8] = {0x11111111, 0x22222222, 0, 0, 0x55555555};
		union {
			struct thing t;
			struct fpc_ack ack;
		} body = {};

		if (!i)
			post(viewer, FPC_DUMP, BASE, 0, NULL, 0);
		head = pop(viewer, &body, sizeof(body));
		assert_int_equal(head.verb, FPC_SET);
		assert_int_equal(body.t.id, i + 1);
		assert_memory_equal(body.t.more, more, sizeof(more));
	}
	/* fpmd has it all the same: nothing has changed for the feature. */
	t.id = 1;
	t.value = 5;
	fake_forget();
	assert_int_equal(ask(cmgrd, FPC_SET, BASE, &t, sizeof(t)).error, 0);
	assert_string_equal(fake_log, "");
	record_close(d.record);
	d.record = NULL;
	file = fopen(path, "r");
	assert_true(fread(text, 1, sizeof(text) - 1, file) > 0);
	fclose(file);
	unlink(path);
	assert_non_null(strstr(text, "1111111122222222000000000000000055555555"));
	assert_null(strstr(text, "33333333"));
	assert_null(strstr(text, "44444444"));
}

static void a_large_dump_comes_in_chunks_and_holds_up_only_its_client(void **state)
{
	struct peer *viewer = hello(FPC_ROLE_VIEWER, "slow");
	struct frame_out two = {};
	uint32_t n = 0, dumps = 0;
	union {
		struct thing t;
		struct fpc_ack ack;
	} body;

	pop(viewer, &body, sizeof(body));
	for (uint32_t i = 0; i < 20000; i++) {
		struct thing t = {.id = i, .value = 1, .more = {[7] = 1}};

		post(rte, FPC_SET, BOX, 0, &t, sizeof(t));
	}
	/* Two dumps in one go: the second one waits in its input. */
	frame_put(&two, FPC_DUMP, BOX, 0, 1, NULL, 0);
	frame_put(&two, FPC_DUMP, BOX, 0, 2, NULL, 0);
	assert_int_equal(dispatch_bytes(&d, viewer, two.data, two.end), two.end);
	frame_out_free(&two);
	assert_true(peer_blocked(viewer));
	while (dumps < 2) {
		struct fpc_frame head;

		assert_true(frame_out_len(&viewer->out) < PEER_OUT_MAX + 1024);
		head = pop(viewer, &body, sizeof(body));
		assert_int_not_equal(head.verb, 0);
		assert_int_equal(head.seq, dumps + 1);
		if (head.verb == FPC_SET)
			n++;
		else
			dumps++;
		/* Meanwhile objects come and go. */
		if (n == 5000) {
			uint32_t id = 19999;

			post(rte, FPC_DEL, BOX, 0, &id, sizeof(id));
		}
		dispatch_drained(&d, viewer);
	}
	assert_int_equal(n, 2 * 19999);
	assert_false(peer_blocked(viewer));
}

static void a_client_that_doesnt_read_its_errors_is_no_longer_listened_to(void **state)
{
	struct thing t = {.id = 1, .value = 666};
	struct frame_out out = {};
	size_t taken = 0;

	for (int i = 0; i < 10000; i++)
		frame_put(&out, FPC_SET, BASE, 0, 1, &t, sizeof(t));
	while (!peer_blocked(cmgrd)) {
		ssize_t n = dispatch_bytes(&d, cmgrd, out.data + taken, out.end - taken);

		assert_true(n >= 0);
		taken += (size_t)n;
	}
	assert_true(taken < out.end);
	assert_true(frame_out_len(&cmgrd->out) < PEER_OUT_MAX + 1024);
	frame_out_free(&out);
}

static unsigned events(struct peer *peer, uint32_t kind)
{
	struct fpc_event event;
	struct fpc_frame head;
	unsigned n = 0;

	dispatch_work(&d);
	while ((head = pop(peer, &event, sizeof(event))).verb)
		n += head.verb == FPC_EVENT && event.kind == kind;
	return n;
}

static void a_fast_path_that_comes_late_hears_of_the_publication(void **state)
{
	assert_int_equal(events(rte, FPC_EVENT_PUBLISHED), 0);
	dispatch_event(&d, FPC_ROLE_RTE, FPC_EVENT_PUBLISHED);
	assert_int_equal(events(rte, FPC_EVENT_PUBLISHED), 1);
	fpm.published = true;
	dispatch_close(&d, rte);
	rte = hello(FPC_ROLE_RTE, "fp-rte");
	assert_int_equal(events(rte, FPC_EVENT_PUBLISHED), 1);
	assert_int_equal(events(cmgrd, FPC_EVENT_PUBLISHED), 0);
}

/* No sequence of bytes does harm: frames that are nearly right, cut and mixed at random. */
static void garbage_does_no_harm(void **state)
{
	srand(7);
	for (int round = 0; round < 3000; round++) {
		struct peer *peer = rand() % 4 ? hello(FPC_ROLE_VIEWER, "x") : dispatch_peer(&d);
		uint8_t bytes[256];
		size_t len = 0;

		while (len + 80 < sizeof(bytes)) {
			struct fpc_frame head = {
				.len = (uint32_t)(sizeof(head) + (size_t)rand() % 64),
				.head_len = rand() % 20 ? 16 : (uint16_t)(rand() % 40),
				.feature = (uint16_t)(rand() % 3 ? 20 + rand() % 5 : rand() % 8),
				.verb = (uint16_t)(rand() % 10),
				.flags = (uint16_t)(rand() % 20 ? rand() % 2 : rand()),
			};

			memcpy(bytes + len, &head, sizeof(head));
			for (size_t i = sizeof(head); i < head.len; i++)
				bytes[len + i] = (uint8_t)(rand() % 4 ? 0 : rand());
			len += head.len;
		}
		if (!(rand() % 4))
			bytes[(size_t)rand() % len] = (uint8_t)rand();
		assert_true(dispatch_bytes(&d, peer, bytes, len) >= 0);
		dispatch_close(&d, peer);
	}
	assert_int_equal(d.objects.n, 0);
	assert_int_equal(set(cmgrd, BASE, 1, 5, 0).error, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(objects_come_and_go),
		TEST(errors_come_unasked_and_successes_dont),
		TEST(a_parked_object_is_no_error_and_says_what_it_waits_for),
		TEST(only_its_owner_changes_a_feature),
		TEST(a_role_is_taken_once_until_its_holder_goes),
		TEST(the_role_of_a_dead_client_is_free),
		TEST(nobody_speaks_before_hello),
		TEST(a_wrong_hello_ends_it),
		TEST(nonsense_ends_the_conversation_with_an_answer),
		TEST(a_sync_of_everything_sweeps_dependents_first),
		TEST(parked_objects_settle_before_the_sync_is_over),
		TEST(a_sync_end_without_begin_is_refused_and_sweeps_nothing),
		TEST(a_lost_connection_leaves_the_state_and_ends_the_sync),
		TEST(a_dump_tells_how_each_object_stands),
		TEST(secrets_are_neither_dumped_nor_recorded),
		TEST(a_large_dump_comes_in_chunks_and_holds_up_only_its_client),
		TEST(a_client_that_doesnt_read_its_errors_is_no_longer_listened_to),
		TEST(a_fast_path_that_comes_late_hears_of_the_publication),
		TEST(garbage_does_no_harm),
	};

	/* Thousands of refusals are meant here. */
	log_set_level(LOG_EMERG);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
