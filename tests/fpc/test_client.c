// SPDX-License-Identifier: BSD-3-Clause
/* The C client against a socket of the test's own: never blocks, understands answers, says why it was refused. */
#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "features/port/fpc_port.h"
#include "features/feature.h"
#include "fpc/client.h"

static char folder[] = "/tmp/fpc-client-XXXXXX";
static char path[64];
static int listener, peer;
static struct fpc_client client;
static struct frame_in in;

static int set_up(void **state)
{
	struct sockaddr_un at = {.sun_family = AF_UNIX};

	assert_non_null(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/sock", folder);
	snprintf(at.sun_path, sizeof(at.sun_path), "%s", path);
	listener = socket(AF_UNIX, SOCK_STREAM, 0);
	return bind(listener, (struct sockaddr *)&at, sizeof(at)) || listen(listener, 4);
}

static int tear_down(void **state)
{
	close(listener);
	unlink(path);
	return rmdir(folder);
}

static int connect_it(void **state)
{
	client_init(&client);
	assert_int_equal(client_connect(&client, path, FPC_ROLE_RTE, "test", NULL), 0);
	peer = accept(listener, NULL, NULL);
	return peer < 0;
}

static int close_it(void **state)
{
	client_close(&client);
	frame_in_free(&in);
	if (peer >= 0)
		close(peer);
	return 0;
}

/* The next frame that the client sent. */
static struct fpc_frame received(const uint8_t **ret_body, size_t *ret_len)
{
	struct fpc_frame head;

	while (!frame_next(&in, &head, ret_body, ret_len, NULL)) {
		size_t room;
		uint8_t *space = frame_in_space(&in, &room);
		ssize_t n = recv(peer, space, room, 0);

		assert_true(n > 0);
		frame_in_add(&in, (size_t)n);
	}
	return head;
}

static void answer(uint16_t verb, uint32_t seq, const void *body, size_t len)
{
	struct frame_out out = {};

	frame_put(&out, verb, 0, 0, seq, body, len);
	assert_int_equal(send(peer, out.data, out.end, 0), out.end);
	frame_out_free(&out);
}

static void it_says_hello_then_sends_objects_without_their_zeros(void **state)
{
	struct fpc_port port = {.port = 3, .tap_ifindex = 7};
	struct fpc_answer a;
	struct fpc_frame head;
	const uint8_t *body;
	size_t len;

	assert_int_equal(client_put(&client, FPC_SET, FEATURE_PORT, 0, &port, sizeof(port)), 0);
	assert_int_equal(client_events(&client), POLLIN | POLLOUT);
	assert_int_equal(client_next(&client, &a, NULL), 0);
	assert_int_equal(client_events(&client), POLLIN);
	head = received(&body, &len);
	assert_int_equal(head.verb, FPC_HELLO);
	assert_int_equal(((const struct fpc_hello *)body)->role, FPC_ROLE_RTE);
	assert_int_equal(len, 12);
	assert_memory_equal(body + 8, "test", 4);
	head = received(&body, &len);
	assert_int_equal(head.verb, FPC_SET);
	assert_int_equal(head.feature, FEATURE_PORT);
	assert_int_equal(head.seq, client.seq);
	assert_int_equal(len, 9);
	/* An object of zeros keeps its key. */
	client_put(&client, FPC_DEL, FEATURE_PORT, 0, &(struct fpc_port){}, sizeof(port));
	client_next(&client, &a, NULL);
	received(&body, &len);
	assert_int_equal(len, FPC_PORT_KEY_SIZE);
}

static void it_understands_answers_and_events(void **state)
{
	struct fpc_hello hello = {.version = FPC_VERSION};
	struct fpc_ack ack = {.error = EINVAL, .verb = FPC_SET, .field = "port", .text = "no"};
	struct fpc_event event = {.kind = FPC_EVENT_PUBLISHED};
	struct fpc_answer a;

	answer(FPC_HELLO, 0, &hello, 4);
	assert_false(client.ready);
	assert_int_equal(client_next(&client, &a, NULL), 1);
	assert_true(client.ready);
	answer(FPC_ACK, 5, &ack, sizeof(ack));
	answer(FPC_EVENT, 0, &event, sizeof(event));
	assert_int_equal(client_next(&client, &a, NULL), 1);
	assert_int_equal(a.head.seq, 5);
	assert_int_equal(a.ack.error, EINVAL);
	assert_string_equal(a.ack.field, "port");
	assert_int_equal(client_next(&client, &a, NULL), 1);
	assert_int_equal(a.event.kind, FPC_EVENT_PUBLISHED);
	assert_int_equal(client_next(&client, &a, NULL), 0);
}

static void a_refused_hello_is_an_error_with_its_reason(void **state)
{
	struct fpc_ack ack = {.error = EBUSY, .verb = FPC_HELLO, .text = "another has the role"};
	struct fpc_answer a;
	struct err err;

	answer(FPC_ACK, 1, &ack, sizeof(ack));
	assert_int_equal(client_next(&client, &a, &err), -EBUSY);
	assert_non_null(strstr(err.text, "another has the role"));
}

static void a_refusal_is_read_even_if_sending_fails(void **state)
{
	struct fpc_ack ack = {.error = EPERM, .text = "not you"};
	struct fpc_answer a;
	struct err err;

	answer(FPC_ACK, 1, &ack, sizeof(ack));
	close(peer);
	peer = -1;
	client_put(&client, FPC_DUMP, 0, 0, NULL, 0);
	assert_int_equal(client_next(&client, &a, &err), -EPERM);
}

static void a_closed_connection_is_told(void **state)
{
	struct fpc_answer a;
	struct err err;

	close(peer);
	peer = -1;
	assert_int_equal(client_next(&client, &a, &err), -ECONNRESET);
	client_close(&client);
	assert_int_equal(client_next(&client, &a, &err), -ENOTCONN);
	assert_int_equal(client_put(&client, FPC_DUMP, 0, 0, NULL, 0), -ENOTCONN);
}

static void it_never_blocks_on_a_peer_that_doesnt_read(void **state)
{
	static uint8_t body[60000];
	struct fpc_answer a;

	memset(body, 1, sizeof(body));
	for (int i = 0; i < 50; i++) {
		assert_int_equal(client_put(&client, FPC_SET, 0, 0, body, sizeof(body)), 0);
		assert_int_equal(client_next(&client, &a, NULL), 0);
	}
	assert_int_equal(client_events(&client), POLLIN | POLLOUT);
}

static void where_nobody_listens_it_says_so(void **state)
{
	struct fpc_client other;
	struct err err;

	client_init(&other);
	assert_int_equal(client_connect(&other, "/tmp/none/fpc.sock", FPC_ROLE_RTE, "x", &err),
			 -ENOENT);
	assert_non_null(strstr(err.text, "/tmp/none/fpc.sock"));
	assert_int_equal(other.fd, -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			it_says_hello_then_sends_objects_without_their_zeros, connect_it, close_it),
		cmocka_unit_test_setup_teardown(it_understands_answers_and_events, connect_it,
						close_it),
		cmocka_unit_test_setup_teardown(a_refused_hello_is_an_error_with_its_reason,
						connect_it, close_it),
		cmocka_unit_test_setup_teardown(a_refusal_is_read_even_if_sending_fails, connect_it,
						close_it),
		cmocka_unit_test_setup_teardown(a_closed_connection_is_told, connect_it, close_it),
		cmocka_unit_test_setup_teardown(it_never_blocks_on_a_peer_that_doesnt_read,
						connect_it, close_it),
		cmocka_unit_test(where_nobody_listens_it_says_so),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
