// SPDX-License-Identifier: BSD-3-Clause
#include "fpn/timer.h"

#include <stddef.h>

static void take_out(struct timer *t)
{
	*t->link = t->next;
	if (t->next)
		t->next->link = t->link;
	t->link = NULL;
}

static void put_in(struct timer **list, struct timer *t)
{
	t->next = *list;
	if (t->next)
		t->next->link = &t->next;
	t->link = list;
	*list = t;
}

/* Level 0 has the next 256 ms, each further one 256 times as much; it's looked at when all levels below are through. */
static void place(struct timers *wheel, struct timer *t)
{
	uint32_t ahead = t->at - wheel->now;
	unsigned level = 0;

	while (level < TIMER_LEVELS - 1 && ahead >> (8 * (level + 1)))
		level++;
	put_in(&wheel->slots[level][(t->at >> (8 * level)) % TIMER_SLOTS], t);
}

void timer_set(struct timers *wheel, struct timer *t, uint32_t ms, timer_fn *run)
{
	if (t->link)
		take_out(t);
	else
		wheel->n++;
	t->run = run;
	t->at = wheel->now + (ms ? ms : 1);
	place(wheel, t);
}

void timer_cancel(struct timers *wheel, struct timer *t)
{
	if (!t->link)
		return;
	take_out(t);
	wheel->n--;
}

/* Detaches a slot's list, so that what is set meanwhile doesn't come into it. */
static struct timer *detach(struct timer **slot, struct timer **head)
{
	*head = *slot;
	*slot = NULL;
	if (*head)
		(*head)->link = head;
	return *head;
}

static void cascade(struct timers *wheel)
{
	for (unsigned level = 1; level < TIMER_LEVELS; level++) {
		unsigned slot = (wheel->now >> (8 * level)) % TIMER_SLOTS;
		struct timer *head;

		for (struct timer *t = detach(&wheel->slots[level][slot], &head); t; t = head) {
			take_out(t);
			place(wheel, t);
		}
		if (slot)
			break;
	}
}

unsigned timers_run(struct timers *wheel, uint32_t now, void *worker)
{
	unsigned n = 0;

	while (wheel->n && (int32_t)(now - wheel->now) > 0) {
		struct timer *head;

		wheel->now++;
		if (!(wheel->now % TIMER_SLOTS))
			cascade(wheel);
		/* What runs may cancel others of this list: always take the first that is left. */
		for (struct timer *t = detach(&wheel->slots[0][wheel->now % TIMER_SLOTS], &head); t;
		     t = head) {
			take_out(t);
			wheel->n--;
			n++;
			t->run(worker, t);
		}
	}
	if (!wheel->n)
		wheel->now = now;
	return n;
}
