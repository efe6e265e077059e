// SPDX-License-Identifier: BSD-3-Clause
#include "cmgrd/inlet.h"

#include <errno.h>
#include <linux/netlink.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define INLET_BATCH 64

struct inlet *inlet_new(void)
{
	struct inlet *inlet = calloc(1, sizeof(*inlet));

	if (!inlet)
		return NULL;
	inlet->room = malloc((size_t)INLET_BATCH * INLET_DATAGRAM);
	if (!inlet->room) {
		free(inlet);
		return NULL;
	}
	return inlet;
}

void inlet_free(struct inlet *inlet)
{
	if (!inlet)
		return;
	free(inlet->room);
	free(inlet->passed);
	free(inlet);
}

int inlet_decode(struct inlet *inlet, uint16_t type, inlet_decoder decode, void *state)
{
	if (type >= INLET_TYPES)
		return -EINVAL;
	inlet->decode[type] = decode;
	inlet->state[type] = state;
	return 0;
}

static void malformed(struct inlet_end *end, uint16_t type, const struct err *err)
{
	if (!end->malformed++) {
		end->type = type;
		end->err = *err;
	}
}

static int lay_aside(struct inlet *inlet, const uint8_t *data, size_t len)
{
	size_t size = inlet->passed_size ? inlet->passed_size : INLET_DATAGRAM;
	size_t whole = NLMSG_ALIGN(len);
	uint8_t *passed;

	while (size - inlet->passed_len < whole)
		size *= 2;
	if (size != inlet->passed_size) {
		passed = realloc(inlet->passed, size);
		if (!passed)
			return -ENOMEM;
		inlet->passed = passed;
		inlet->passed_size = size;
	}
	memcpy(inlet->passed + inlet->passed_len, data, len);
	memset(inlet->passed + inlet->passed_len + len, 0, whole - len);
	inlet->passed_len += whole;
	return 0;
}

/* The end of a dump, or its failure. */
static void control(const struct nlmsghdr *head, const uint8_t *payload, size_t len,
		    struct inlet_end *end)
{
	int32_t code = 0;

	if (head->nlmsg_type == NLMSG_OVERRUN) {
		end->code = ENOBUFS;
		return;
	}
	if (len >= sizeof(code))
		memcpy(&code, payload, sizeof(code));
	if (code < 0)
		end->code = -code;
	end->done = true;
}

int inlet_message(struct inlet *inlet, const struct inlet_message *m, struct err *err)
{
	int rc = INLET_PASS;

	if (m->type < INLET_TYPES && inlet->decode[m->type])
		rc = inlet->decode[m->type](inlet->state[m->type], m, err);
	inlet->messages += rc != INLET_PASS;
	return rc;
}

void inlet_datagram(struct inlet *inlet, const uint8_t *data, size_t len,
		    const struct inlet_message *about, struct inlet_end *ret)
{
	struct inlet_message m = *about;
	struct err err;
	size_t at = 0;

	*ret = (struct inlet_end){};
	while (at < len && !ret->done && !ret->code) {
		struct nlmsghdr head;
		int rc;

		if (len - at < sizeof(head)) {
			err_set(&err, EBADMSG, "%zu bytes left over", len - at);
			malformed(ret, 0, &err);
			return;
		}
		memcpy(&head, data + at, sizeof(head));
		if (head.nlmsg_len < sizeof(head) || head.nlmsg_len > len - at) {
			err_set(&err, EBADMSG, "message type %u of %u bytes, %zu there",
				head.nlmsg_type, head.nlmsg_len, len - at);
			malformed(ret, 0, &err);
			return;
		}
		m.type = head.nlmsg_type;
		m.flags = head.nlmsg_flags;
		m.data = data + at + sizeof(head);
		m.len = head.nlmsg_len - sizeof(head);
		ret->interrupted |= m.dumped && m.flags & NLM_F_DUMP_INTR;
		if (m.type < NLMSG_MIN_TYPE) {
			if (m.type != NLMSG_NOOP)
				control(&head, m.data, m.len, ret);
			rc = 0;
		} else {
			rc = inlet_message(inlet, &m, &err);
		}
		if (rc == INLET_PASS)
			rc = lay_aside(inlet, data + at, head.nlmsg_len);
		if (rc == -ENOMEM)
			ret->code = ENOMEM;
		else if (rc)
			malformed(ret, m.type, &err);
		at += NLMSG_ALIGN(head.nlmsg_len);
	}
}

int inlet_read(struct inlet *inlet, int fd, unsigned most, const struct inlet_message *m,
	       unsigned *ret_cut, struct inlet_end *ret)
{
	struct sockaddr_nl from[INLET_BATCH];
	struct mmsghdr heads[INLET_BATCH];
	struct iovec parts[INLET_BATCH];
	int n;

	*ret = (struct inlet_end){};
	*ret_cut = 0;
	if (most > INLET_BATCH)
		most = INLET_BATCH;
	for (unsigned i = 0; i < most; i++) {
		parts[i] = (struct iovec){inlet->room + (size_t)i * INLET_DATAGRAM, INLET_DATAGRAM};
		heads[i] = (struct mmsghdr){.msg_hdr = {
						    .msg_name = &from[i],
						    .msg_namelen = sizeof(from[i]),
						    .msg_iov = &parts[i],
						    .msg_iovlen = 1,
					    }};
	}
	n = recvmmsg(fd, heads, most, MSG_DONTWAIT, NULL);
	if (n < 0)
		return -errno;
	for (int i = 0; i < n; i++) {
		struct inlet_end end;

		/* Another process pretends to be the kernel: its message counts for nothing. */
		if (from[i].nl_pid)
			continue;
		if (heads[i].msg_hdr.msg_flags & MSG_TRUNC) {
			++*ret_cut;
			continue;
		}
		inlet_datagram(inlet, parts[i].iov_base, heads[i].msg_len, m, &end);
		if (end.malformed && !ret->malformed) {
			ret->type = end.type;
			ret->err = end.err;
		}
		ret->malformed += end.malformed;
		if (end.code)
			ret->code = end.code;
	}
	return n;
}

int inlet_attrs(const uint8_t *data, size_t len, struct inlet_attr ret[INLET_ATTRS],
		bool *ret_beyond, struct err *err)
{
	size_t at = 0;

	memset(ret, 0, INLET_ATTRS * sizeof(ret[0]));
	*ret_beyond = false;
	while (at < len && len - at >= sizeof(struct nlattr)) {
		struct nlattr head;
		uint16_t type;

		memcpy(&head, data + at, sizeof(head));
		type = head.nla_type & NLA_TYPE_MASK;
		if (head.nla_len < sizeof(head) || head.nla_len > len - at)
			return err_set(err, EBADMSG, "attribute %u of %u bytes, %zu there", type,
				       head.nla_len, len - at);
		if (type < INLET_ATTRS)
			ret[type] = (struct inlet_attr){
				data + at + sizeof(head),
				(uint16_t)(head.nla_len - sizeof(head)),
			};
		else
			*ret_beyond = true;
		at += NLA_ALIGN(head.nla_len);
	}
	if (at < len)
		return err_set(err, EBADMSG, "%zu bytes left over behind the attributes", len - at);
	return 0;
}

int inlet_number(struct inlet_attr attr, uint32_t *ret, struct err *err)
{
	uint16_t half;

	*ret = 0;
	if (!attr.data)
		return 0;
	switch (attr.len) {
	case 1:
		*ret = *attr.data;
		return 0;
	case 2:
		memcpy(&half, attr.data, sizeof(half));
		*ret = half;
		return 0;
	case 4:
		memcpy(ret, attr.data, sizeof(*ret));
		return 0;
	default:
		return err_set(err, EBADMSG, "a number of %u bytes", attr.len);
	}
}
