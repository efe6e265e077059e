// SPDX-License-Identifier: BSD-3-Clause
/* Any FPC conversation with fpmd's dispatcher, all features behind it: nothing but refusals may come of it, and what was set
 * goes again when a sync finds nothing. The input: frames, each {u8 how, u8 verb, u8 feature, u8 length, bytes}; with how 0 the
 * rest is sent as it is. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fpmd/dispatch.h"
#include "lib/log.h"
#include "lib/settings.h"

static struct fpm fpm;
static struct dispatch dispatch;

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	static const char *const small[] = {"FP_MAX_INTERFACES=16", "FP_MAX_NEIGHBOURS=64",
					    "FP_MAX_NEXTHOPS=64", "FP_MAX_IPV4_LINES=64",
					    "FP_MAX_IPV6_LINES=64"};
	struct shm_table_desc tables[SHM_MAX_TABLES];
	static struct settings settings;
	struct err err = {0};
	char path[] = "/tmp/fuzz_dispatch.XXXXXX";
	int fd = mkstemp(path);

	settings_init(&settings);
	for (unsigned i = 0; i < sizeof(small) / sizeof(*small); i++)
		if (settings_parse(&settings, small[i], strlen(small[i]), "fuzz", &err))
			abort();
	fpm.settings = &settings;
	if (fd < 0 || close(fd) || unlink(path) ||
	    shm_create(&fpm.config, path, tables, feature_config_tables(tables, &settings), &err) ||
	    dispatch_init(&dispatch, &fpm, fpm_parts, n_features, &err)) {
		fprintf(stderr, "fuzz_dispatch: error: %s\n", err.text);
		abort();
	}
	dispatch.objects.quiet = true;
	log_set_level(LOG_ERR);
	unlink(path);
	return 0;
}

/* Its answers are read as they come. */
static void talk(struct peer *peer, const void *bytes, size_t len)
{
	const uint8_t *at = bytes;

	for (;;) {
		struct frame_out *out = &peer->out;
		ssize_t n = dispatch_bytes(&dispatch, peer, at, len);

		assert(n >= 0 && (size_t)n <= len);
		at += n;
		len -= (size_t)n;
		/* Nobody runs, so nothing is put off; what has no room may wait as long as it likes. */
		dispatch_work(&dispatch);
		if (!frame_out_len(out))
			break;
		frame_out_sent(out, frame_out_len(out));
		dispatch_drained(&dispatch, peer);
	}
}

static void say(struct peer *peer, uint16_t verb, uint16_t feature, const void *body, size_t len)
{
	static uint8_t frame[sizeof(struct fpc_frame) + 4096];
	struct fpc_frame head = {.len = (uint32_t)(sizeof(head) + len),
				 .head_len = sizeof(head),
				 .feature = feature,
				 .verb = verb,
				 .flags = FPC_F_ACK};

	memcpy(frame, &head, sizeof(head));
	memcpy(frame + sizeof(head), body, len);
	talk(peer, frame, head.len);
}

static struct peer *greet(uint32_t role)
{
	struct peer *peer = dispatch_peer(&dispatch);
	struct fpc_hello hello = {.version = FPC_VERSION, .role = role, .name = "fuzz"};

	assert(peer);
	say(peer, FPC_HELLO, 0, &hello, sizeof(hello));
	assert(peer->role == role);
	return peer;
}

static void forget(void)
{
	static const uint32_t roles[] = {FPC_ROLE_SYNC, FPC_ROLE_RTE};

	for (unsigned r = 0; r < 2; r++) {
		struct peer *peer = greet(roles[r]);

		for (unsigned i = 0; i < n_features; i++)
			if (features[i]->msg_size && features[i]->owner == roles[r])
				say(peer, FPC_SYNC_BEGIN, features[i]->id, NULL, 0);
		for (unsigned i = n_features; i-- > 0;)
			if (features[i]->msg_size && features[i]->owner == roles[r])
				say(peer, FPC_SYNC_END, features[i]->id, NULL, 0);
		dispatch_close(&dispatch, peer);
	}
	assert(!dispatch.objects.n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct peer *peers[] = {greet(FPC_ROLE_SYNC), greet(FPC_ROLE_RTE)};

	while (size >= 4) {
		uint8_t how = data[0], verb = data[1];
		const struct feature *feature = features[data[2] % n_features];
		struct peer *peer = peers[how & 1];
		size_t len = data[3];
		uint8_t body[2048] = {0};

		data += 4;
		size -= 4;
		if (!how) {
			struct peer *raw = dispatch_peer(&dispatch);

			talk(raw, data, size);
			dispatch_close(&dispatch, raw);
			break;
		}
		len = len < size ? len : size;
		memcpy(body, data, len);
		data += len;
		size -= len;
		/* Mostly the right verb and length, from who may. */
		if (how & 2) {
			peer = peers[feature->owner == FPC_ROLE_RTE];
			verb = verb & 3 ? FPC_SET : FPC_DEL;
			len = verb == FPC_SET ? feature->msg_size : feature->key_size;
		}
		if (peer->closing)
			continue;
		say(peer, verb, feature->id, body, len);
	}
	for (unsigned i = 0; i < 2; i++)
		dispatch_close(&dispatch, peers[i]);
	forget();
	return 0;
}
