// SPDX-License-Identifier: MIT
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "base/aside.h"
#include "base/err.h"

TestSuite(aside);

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
    aside_finish(aside);
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
    aside_finish(aside);
    aside_do(aside, &step.task);
    cr_assert_eq(atomic_load(&last), 1);
    aside_free(aside);
}

Test(aside, accepts_null)
{
    aside_finish(NULL);
    aside_free(NULL);
}
