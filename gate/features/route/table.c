// SPDX-License-Identifier: BSD-3-Clause
/* Routing tables by number. There are few, and they're asked for with each route, so they're hashed. */
#include <errno.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <string.h>

#include "features/route/table.h"

#define BUCKETS 256

static struct fpm_rows table;
static struct route_table_row *rows;
static struct {
	uint32_t refs;
	uint32_t next; /* in the chain */
} shadows[ROUTE_TABLES];
static uint32_t buckets[BUCKETS];

static uint32_t *bucket(uint32_t vrf, uint32_t number)
{
	return &buckets[(number * 0x9e3779b1U ^ vrf * 0x85ebca6bU) >> 24];
}

int route_tables_init(struct fpm *fpm, struct err *err)
{
	int rc = fpm_rows_init(&table, fpm, "route_table", err);

	if (rc)
		return rc;
	rows = (struct route_table_row *)table.rows;
	memset(shadows, 0, sizeof(shadows));
	memset(buckets, 0, sizeof(buckets));
	/* Nobody else gets the first two. */
	static_assert(ROUTE_TABLE_MAIN == 1 && ROUTE_TABLE_LOCAL == 2);
	fpm_rows_get(&table);
	fpm_rows_get(&table);
	return 0;
}

uint32_t route_table_ref(uint32_t vrf, uint32_t number)
{
	uint32_t *first = bucket(vrf, number);
	uint32_t row = *first;

	if (number == RT_TABLE_MAIN)
		return ROUTE_TABLE_MAIN;
	if (number == RT_TABLE_LOCAL)
		return ROUTE_TABLE_LOCAL;
	while (row && (rows[row].vrf != vrf || rows[row].table != number))
		row = shadows[row].next;
	if (!row) {
		row = fpm_rows_get(&table);
		if (!row)
			return 0;
		rows[row].vrf = vrf;
		rows[row].table = number;
		shadows[row].refs = 0;
		shadows[row].next = *first;
		*first = row;
	}
	shadows[row].refs++;
	return row;
}

void route_table_unref(uint32_t row)
{
	uint32_t *at;

	if (row <= ROUTE_TABLE_LOCAL || --shadows[row].refs)
		return;
	for (at = bucket(rows[row].vrf, rows[row].table); *at != row;)
		at = &shadows[*at].next;
	*at = shadows[row].next;
	fpm_rows_put_later(&table, row);
}

_Atomic uint32_t *route_table_root(uint32_t row, uint8_t family)
{
	return family == AF_INET ? &rows[row].root4 : &rows[row].root6;
}
