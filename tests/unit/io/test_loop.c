// SPDX-License-Identifier: MIT
/* Deadlines of more lengths than there are lists for, tasks, burials, in the order they promise. */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "base/attr.h"
#include "base/clock.h"
#include "io/loop.h"

#define LISTS 32 /* so many lengths have a list of their own (LOOP_QUEUES) */
#define NEVER_MS 3600000

struct item {
    struct deadline deadline;
    uint64_t length_ms;
    uint64_t armed_ms;
    uint64_t fired_ms; /* 0: not yet */
};

static struct loop *loop;
static struct item fillers[LISTS]; /* hold all the lists */
static const struct item *fired[256];
static size_t fired_count;
static size_t expected; /* the loop ends when so many have fired */

static void set_up(void)
{
    cr_assert_eq(loop_new(&loop), 0);
}

static void tear_down(void)
{
    loop_free(loop);
}

TestSuite(loop, .init = set_up, .fini = tear_down);

static void on_fire(struct deadline *deadline)
{
    struct item *item = CONTAINER_OF(deadline, struct item, deadline);

    item->fired_ms = clock_mono_ms();
    cr_expect_geq(item->fired_ms, item->armed_ms + item->length_ms, "after %u ms of %u",
                  (unsigned)(item->fired_ms - item->armed_ms), (unsigned)item->length_ms);
    cr_expect_not(deadline_armed(deadline));
    fired[fired_count++] = item;
    if (fired_count == expected) {
        loop_stop(loop);
    }
}

static void arm(struct item *item, uint64_t length_ms)
{
    item->length_ms = length_ms;
    item->armed_ms = loop_now_ms(loop);
    deadline_arm(&item->deadline, loop, length_ms);
}

static void begin(struct item *item, uint64_t length_ms)
{
    deadline_init(&item->deadline, on_fire);
    arm(item, length_ms);
}

static void fill_lists(void)
{
    for (size_t i = 0; i < LISTS; i++) {
        begin(&fillers[i], NEVER_MS + i);
    }
}

static void run_until(size_t count)
{
    expected = count;
    cr_assert_eq(loop_run(loop), 0);
    cr_assert_eq(fired_count, count);
}

/* ------------------------------------------------------------------ deadlines */

Test(loop, lengths_beyond_the_lists_fire_in_the_order_of_their_time)
{
    static struct item items[60];

    fill_lists();
    for (size_t i = 0; i < ARRAY_LEN(items); i++) {
        begin(&items[i], 1 + i * 37 % ARRAY_LEN(items)); /* each length once, in no order */
    }
    run_until(ARRAY_LEN(items));
    for (size_t i = 0; i < ARRAY_LEN(items); i++) {
        cr_expect_eq(fired[i]->length_ms, i + 1, "number %zu", i);
    }
    for (size_t i = 0; i < LISTS; i++) {
        cr_expect(deadline_armed(&fillers[i].deadline));
    }
}

Test(loop, every_one_of_many_lengths_fires)
{
    static struct item items[100];

    for (size_t i = 0; i < ARRAY_LEN(items); i++) {
        begin(&items[i], 1 + i * 37 % ARRAY_LEN(items));
    }
    run_until(ARRAY_LEN(items));
}

Test(loop, of_one_length_the_first_armed_fires_first)
{
    static struct item items[4];

    for (size_t i = 0; i < ARRAY_LEN(items); i++) {
        begin(&items[i], 5);
    }
    arm(&items[0], 5); /* anew, for the same moment: nothing changes */
    deadline_disarm(&items[2].deadline);
    run_until(3);
    cr_expect_eq(fired[0], &items[0]);
    cr_expect_eq(fired[1], &items[1]);
    cr_expect_eq(fired[2], &items[3]);
}

Test(loop, of_one_length_beyond_the_lists_too)
{
    static struct item items[3];

    fill_lists();
    for (size_t i = 0; i < ARRAY_LEN(items); i++) {
        begin(&items[i], 5);
    }
    run_until(3);
    cr_expect_eq(fired[0], &items[0]);
    cr_expect_eq(fired[1], &items[1]);
    cr_expect_eq(fired[2], &items[2]);
}

Test(loop, beyond_the_lists_one_can_be_disarmed_and_armed_anew)
{
    static struct item items[4];

    fill_lists();
    for (size_t i = 0; i < ARRAY_LEN(items); i++) {
        begin(&items[i], 10 * (i + 1));
    }
    deadline_disarm(&items[1].deadline);
    cr_expect_not(deadline_armed(&items[1].deadline));
    arm(&items[0], 35);
    run_until(3);
    cr_expect_eq(fired[0], &items[2]);
    cr_expect_eq(fired[1], &items[0]);
    cr_expect_eq(fired[2], &items[3]);
    cr_expect_eq(items[1].fired_ms, 0);
}

Test(loop, a_list_that_ran_empty_serves_another_length)
{
    static struct item short_one;
    static struct item later;

    fill_lists();
    deadline_disarm(&fillers[7].deadline);
    begin(&short_one, 2);
    begin(&later, 4); /* all lists are busy again */
    run_until(2);
    cr_expect_eq(fired[0], &short_one);
    cr_expect_eq(fired[1], &later);
}

static struct item neighbour;

static void disarm_neighbour(struct deadline *deadline)
{
    on_fire(deadline);
    deadline_disarm(&neighbour.deadline);
}

Test(loop, one_that_fires_may_disarm_the_next)
{
    static struct item first;
    static struct item last;

    fill_lists();
    begin(&first, 5);
    first.deadline.fire = disarm_neighbour;
    begin(&neighbour, 5);
    begin(&last, 6);
    run_until(2);
    cr_expect_eq(fired[1], &last);
    cr_expect_eq(neighbour.fired_ms, 0);
}

static void fire_thrice(struct deadline *deadline)
{
    struct item *item = CONTAINER_OF(deadline, struct item, deadline);

    on_fire(deadline);
    if (fired_count < 3) {
        arm(item, 3);
    }
}

Test(loop, one_that_fires_may_arm_itself_anew)
{
    static struct item item;

    begin(&item, 3);
    item.deadline.fire = fire_thrice;
    run_until(3);
    cr_expect_not(deadline_armed(&item.deadline));
}

/* ------------------------------------------------------------------ turns */

static unsigned turns;

static void count_turn(void *arg)
{
    (void)arg;
    turns++;
}

static unsigned runs;
static struct task never_run;

static void run_again(struct task *task)
{
    cr_expect_eq(turns, ++runs, "once in each turn");
    loop_defer(loop, task);
    loop_defer(loop, task); /* no harm */
    task_cancel(&never_run);
    if (runs == 5) {
        loop_stop(loop);
    }
}

static void fail_to_run(struct task *task)
{
    (void)task;
    cr_expect_fail("it was cancelled by the one before it");
}

Test(loop, task_that_is_deferred_by_itself_runs_in_the_next_turn)
{
    static struct task task;

    loop_on_turn_end(loop, count_turn, NULL);
    task_init(&task, run_again);
    task_init(&never_run, fail_to_run);
    loop_defer(loop, &task);
    loop_defer(loop, &never_run);
    cr_assert_eq(loop_run(loop), 0);
    cr_expect_eq(runs, 5);
}

struct body {
    struct task task;
    unsigned *buried; /* counts */
};

static void bury_body(struct task *task)
{
    struct body *body = CONTAINER_OF(task, struct body, task);

    cr_expect_eq(turns, 1, "before what runs at the turn's end");
    ++*body->buried;
    free(body);
}

static void die(struct task *task)
{
    struct body *body = CONTAINER_OF(task, struct body, task);

    loop_bury(loop, &body->task, bury_body);
    loop_defer(loop, &body->task); /* no harm */
    cr_expect_eq(*body->buried, 0, "it is still needed on the way back");
    loop_stop(loop);
}

Test(loop, burial_comes_at_the_end_of_its_turn)
{
    unsigned buried = 0;
    struct body *body = calloc(1, sizeof(*body));

    body->buried = &buried;
    loop_on_turn_end(loop, count_turn, NULL);
    task_init(&body->task, die);
    loop_defer(loop, &body->task);
    cr_assert_eq(loop_run(loop), 0);
    cr_expect_eq(buried, 1);
}

/* ------------------------------------------------------------------ wake-ups */

#define NEAR_MS 640 /* deadlines of this length may fire SLACK_MS late */
#define SLACK_MS 16

static struct item near[200];
static size_t near_count;
static unsigned turns_before; /* the last was armed */

/* One in each millisecond. */
static void arm_one_more(struct task *task)
{
    if (near_count == 0 || near[near_count - 1].armed_ms < loop_now_ms(loop)) {
        begin(&near[near_count++], NEAR_MS);
    }
    turns_before = turns;
    if (near_count < ARRAY_LEN(near)) {
        loop_defer(loop, task);
    }
}

Test(loop, deadlines_near_each_other_share_a_wake_up)
{
    static struct task task;
    uint64_t span_ms;

    loop_on_turn_end(loop, count_turn, NULL);
    task_init(&task, arm_one_more);
    loop_defer(loop, &task);
    run_until(ARRAY_LEN(near));
    span_ms = near[ARRAY_LEN(near) - 1].armed_ms - near[0].armed_ms;
    cr_expect_geq(span_ms, ARRAY_LEN(near) - 1);
    /* A poll may end a little early, and is then taken up again. */
    cr_expect_leq(turns - turns_before, 2 * (span_ms / SLACK_MS + 2), "%u turns for %u ms",
                  turns - turns_before, (unsigned)span_ms);
}
