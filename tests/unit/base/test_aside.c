// SPDX-License-Identifier: MIT
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "base/aside.h"
#include "base/err.h"

TestSuite(aside);

#define PATIENCE_MS 20000

struct step {
    struct aside_task task;
    int number;
};

static atomic_int last;
static pthread_t ran_on;
static char name[16];

static void run(struct aside_task *task)
{
    const struct step *step = CONTAINER_OF(task, struct step, task);

    cr_assert_eq(atomic_load(&last), step->number - 1);
    atomic_store(&last, step->number);
    ran_on = pthread_self();
    (void)pthread_getname_np(pthread_self(), name, sizeof(name));
}

Test(aside, runs_here_before_it_is_started)
{
    struct step step = {.task = {.run = run}, .number = 1};
    struct aside *aside;

    cr_assert_eq(aside_new("aside", &aside), 0);
    aside_do(aside, &step.task);
    cr_assert_eq(atomic_load(&last), 1);
    cr_assert(pthread_equal(ran_on, pthread_self()));
    cr_assert(aside_finish(aside, 0));
    aside_free(aside);
}

Test(aside, runs_all_in_order_on_its_thread)
{
    static struct step steps[100];
    struct aside *aside;

    cr_assert_eq(aside_new("aside", &aside), 0);
    cr_assert_eq(aside_start(aside), 0);
    cr_assert_eq(aside_start(aside), 0);
    for (int i = 0; i < 100; i++) {
        steps[i] = (struct step){.task = {.run = run}, .number = i + 1};
        aside_do(aside, &steps[i].task);
    }
    cr_assert(aside_finish(aside, PATIENCE_MS));
    cr_assert_eq(atomic_load(&last), 100);
    cr_assert_not(pthread_equal(ran_on, pthread_self()));
    cr_assert_eq(strcmp(name, "aside"), 0);
    aside_free(aside);
}

Test(aside, runs_here_after_the_end)
{
    struct step step = {.task = {.run = run}, .number = 1};
    struct aside *aside;

    cr_assert_eq(aside_new("aside", &aside), 0);
    cr_assert_eq(aside_start(aside), 0);
    cr_assert(aside_finish(aside, PATIENCE_MS));
    aside_do(aside, &step.task);
    cr_assert_eq(atomic_load(&last), 1);
    aside_free(aside);
}

static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;

static void hang(struct aside_task *task)
{
    (void)pthread_mutex_lock(&gate);
    (void)pthread_mutex_unlock(&gate);
    run(task);
}

Test(aside, waits_no_longer_than_it_may)
{
    struct step steps[] = {{.task = {.run = hang}, .number = 1},
                           {.task = {.run = run}, .number = 2}};
    struct aside *aside;

    cr_assert_eq(aside_new("aside", &aside), 0);
    cr_assert_eq(aside_start(aside), 0);
    (void)pthread_mutex_lock(&gate);
    aside_do(aside, &steps[0].task);
    cr_assert_not(aside_finish(aside, 10));
    aside_do(aside, &steps[1].task);
    cr_assert_eq(atomic_load(&last), 0, "behind the one that hangs, not here");
    (void)pthread_mutex_unlock(&gate);
    cr_assert(aside_finish(aside, PATIENCE_MS));
    cr_assert_eq(atomic_load(&last), 2);
    aside_free(aside);
}

Test(aside, accepts_null)
{
    cr_assert(aside_finish(NULL, 0));
    aside_free(NULL);
}
