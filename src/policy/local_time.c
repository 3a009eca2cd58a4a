// SPDX-License-Identifier: MIT
#include "policy/local_time.h"

#include <pthread.h>
#include <time.h>

#define MINUTE_MS 60000

struct local_time local_time_at(uint64_t wall_ms)
{
    time_t seconds = (time_t)(wall_ms / 1000);
    struct tm tm;

    if (!localtime_r(&seconds, &tm)) {
        return (struct local_time){0};
    }
    return (struct local_time){
        .known = true,
        .weekday = (unsigned char)tm.tm_wday,
        .minute = (unsigned short)(tm.tm_hour * 60 + tm.tm_min),
    };
}

/* localtime_r would keep to the zone that the machine had at first. libc has a lock of its own for
 * this, which the thread sanitizer does not see. */
static void follow_zone(void)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

    (void)pthread_mutex_lock(&lock);
    tzset();
    (void)pthread_mutex_unlock(&lock);
}

struct local_time local_clock_at(struct local_clock *clock, uint64_t wall_ms)
{
    uint64_t minute = wall_ms / MINUTE_MS + 1;

    if (clock->minute != minute) {
        follow_zone();
        clock->time = local_time_at(wall_ms);
        clock->minute = minute;
    }
    return clock->time;
}
