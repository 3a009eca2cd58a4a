// SPDX-License-Identifier: MIT
/* Whoever stays on the roll through a walk is met exactly once, however the others come and go. */
#include <criterion/criterion.h>

#include "../faults.h"
#include "base/attr.h"
#include "proxy/roll.h"

#define PEOPLE 3000

struct person {
    struct roll_entry entry;
    bool is_in;
    bool stays; /* has been in since the walk began */
    unsigned met;
};

static struct roll roll;
static struct person people[PEOPLE];
static uint64_t random_state;

static void set_up(void)
{
    roll = (struct roll){0};
    memset(people, 0, sizeof(people));
    random_state = 1;
}

static void tear_down(void)
{
    roll_deinit(&roll);
}

TestSuite(roll, .init = set_up, .fini = tear_down);

/* xorshift64 */
static size_t random_below(size_t limit)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (size_t)(random_state % limit);
}

static void enter(struct person *p)
{
    cr_assert(roll_add(&roll, &p->entry, ROLL_CLIENT));
    p->is_in = true;
    p->stays = false;
    p->met = 0;
}

static void leave(struct person *p)
{
    roll_remove(&roll, &p->entry);
    p->is_in = false;
}

/* As a client that becomes a tunnel. */
static void change_into(struct person *p, struct person *next)
{
    next->is_in = true;
    next->stays = p->stays;
    next->met = p->met;
    roll_pass(&roll, &p->entry, &next->entry, ROLL_TUNNEL);
    p->is_in = false;
}

static void come_and_go(size_t times)
{
    for (size_t i = 0; i < times; i++) {
        struct person *p = &people[random_below(PEOPLE)];
        struct person *other = &people[random_below(PEOPLE)];

        if (!p->is_in) {
            enter(p);
        } else if (!other->is_in && random_below(4) == 0) {
            change_into(p, other);
        } else {
            leave(p);
        }
    }
}

static size_t count_people(void)
{
    size_t count = 0;

    for (size_t i = 0; i < PEOPLE; i++) {
        count += people[i].is_in;
    }
    return count;
}

static void begin(void)
{
    for (size_t i = 0; i < PEOPLE; i++) {
        people[i].stays = people[i].is_in;
        people[i].met = 0;
    }
    roll_walk(&roll);
}

static struct person *meet(void)
{
    struct roll_entry *entry = roll_next(&roll);
    struct person *p = entry ? CONTAINER_OF(entry, struct person, entry) : NULL;

    if (p) {
        cr_assert(p->is_in);
        p->met++;
    }
    return p;
}

static void check_met(void)
{
    for (size_t i = 0; i < PEOPLE; i++) {
        const struct person *p = &people[i];

        if (p->is_in) {
            cr_assert_eq(p->met, p->stays ? 1 : 0, "person %zu was met %u times", i, p->met);
        }
    }
    cr_assert_eq(roll.count, count_people());
}

/* Steps of random lengths, with comings and goings between them; some leave as they are met. */
static void walk(void)
{
    begin();
    for (;;) {
        size_t steps = 1 + random_below(300);

        for (size_t i = 0; i < steps; i++) {
            struct person *p = meet();

            if (!p) {
                check_met();
                return;
            }
            if (random_below(8) == 0) {
                leave(p);
            }
        }
        come_and_go(random_below(200));
    }
}

Test(roll, an_empty_one_has_nobody)
{
    size_t at = SIZE_MAX;

    roll_walk(&roll);
    cr_assert_null(roll_next(&roll));
    cr_assert_null(roll_before(&roll, &at));
}

Test(roll, whoever_stays_is_met_once)
{
    for (unsigned i = 0; i < 300; i++) {
        come_and_go(random_below(2 * PEOPLE));
        walk();
    }
}

Test(roll, a_walk_that_nobody_ends_does_not_spoil_the_next)
{
    for (unsigned i = 0; i < 300; i++) {
        come_and_go(random_below(PEOPLE));
        begin();
        for (size_t n = random_below(PEOPLE); n > 0; n--) {
            (void)meet();
        }
        come_and_go(random_below(PEOPLE));
        walk();
    }
}

Test(roll, a_search_misses_nobody_beside_a_walk)
{
    for (unsigned i = 0; i < 300; i++) {
        size_t at = SIZE_MAX;
        struct roll_entry *entry;

        come_and_go(random_below(PEOPLE));
        begin();
        while ((entry = roll_before(&roll, &at))) {
            CONTAINER_OF(entry, struct person, entry)->met++;
            if (random_below(50) == 0) {
                come_and_go(random_below(100));
            }
            if (random_below(3) == 0 && !roll_next(&roll)) {
                roll_walk(&roll);
            }
        }
        for (size_t n = 0; n < PEOPLE; n++) {
            cr_assert(!people[n].is_in || !people[n].stays || people[n].met > 0);
        }
    }
}

Test(roll, tells_what_an_entry_is_part_of)
{
    enter(&people[0]);
    cr_assert_eq(people[0].entry.kind, ROLL_CLIENT);
    change_into(&people[0], &people[1]);
    cr_assert_eq(people[1].entry.kind, ROLL_TUNNEL);
    roll_walk(&roll);
    cr_assert_eq(roll_next(&roll), &people[1].entry);
}

Test(roll, gives_back_what_a_crowd_has_left)
{
    for (size_t i = 0; i < PEOPLE; i++) {
        enter(&people[i]);
    }
    cr_assert_geq(roll.cap, PEOPLE);
    for (size_t i = 0; i < PEOPLE; i++) {
        leave(&people[i]);
    }
    cr_assert_leq(roll.cap, 64);
}

static void prepare(void)
{
    roll_deinit(&roll);
}

static int act(void)
{
    return roll_add(&roll, &people[0].entry, ROLL_CLIENT) ? 0 : -ENOMEM;
}

Test(roll, says_when_memory_is_out)
{
    cr_assert_eq(fail_each_allocation(prepare, act), 1);
}
