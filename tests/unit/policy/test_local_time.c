// SPDX-License-Identifier: MIT
#include <criterion/criterion.h>
#include <stdlib.h>
#include <time.h>

#include "policy/local_time.h"

#define HOUR_MS 3600000

static void expect_time(struct local_time time, unsigned weekday, unsigned hours, unsigned minutes)
{
    cr_expect(time.known);
    cr_expect_eq(time.weekday, weekday);
    cr_expect_eq(time.minute, hours * 60 + minutes, "%u:%02u", time.minute / 60, time.minute % 60);
}

Test(local_time, is_that_of_the_zone)
{
    uint64_t sunday_noon_ms = 1795348799999; /* 2026-11-22T11:59:59.999Z */

    setenv("TZ", "UTC0", 1);
    tzset();
    expect_time(local_time_at(sunday_noon_ms), 0, 11, 59);
    expect_time(local_time_at(sunday_noon_ms + 1), 0, 12, 0);
    setenv("TZ", "XXX-13", 1); /* 13 hours ahead */
    tzset();
    expect_time(local_time_at(sunday_noon_ms), 1, 0, 59);
}

Test(local_time, follows_summer_time)
{
    uint64_t summer_begins_ms = 1774746000000; /* 2026-03-29T01:00:00Z */

    setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3", 1);
    tzset();
    expect_time(local_time_at(summer_begins_ms - 1), 0, 1, 59);
    expect_time(local_time_at(summer_begins_ms), 0, 3, 0);
}

Test(local_time, remembers_the_minute_and_no_longer)
{
    struct local_clock clock = {0};
    uint64_t noon_ms = 1795348800000;

    setenv("TZ", "UTC0", 1);
    tzset();
    expect_time(local_clock_at(&clock, noon_ms), 0, 12, 0);
    clock.time.minute = 7; /* what is remembered is not asked for again */
    expect_time(local_clock_at(&clock, noon_ms + 59999), 0, 0, 7);
    expect_time(local_clock_at(&clock, noon_ms + 60000), 0, 12, 1);
    expect_time(local_clock_at(&clock, noon_ms - 1), 0, 11, 59);
    clock = (struct local_clock){0};
    expect_time(local_clock_at(&clock, 0), 4, 0, 0);
    expect_time(local_clock_at(&clock, noon_ms + 24 * HOUR_MS), 1, 12, 0);
}

Test(local_time, follows_the_machine_to_another_zone)
{
    struct local_clock clock = {0};
    uint64_t noon_ms = 1795348800000;

    setenv("TZ", "UTC0", 1);
    tzset();
    expect_time(local_clock_at(&clock, noon_ms), 0, 12, 0);
    setenv("TZ", "XXX-2", 1); /* and nobody calls tzset */
    expect_time(local_clock_at(&clock, noon_ms + 60000), 0, 14, 1);
}
