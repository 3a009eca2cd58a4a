// SPDX-License-Identifier: MIT
#pragma once

/*
 * Day and minute on the clock of the machine's time zone, for `time` lines.
 * localtime_r takes libc's lock, so a worker asks it once a minute and
 * remembers. A change of the machine's zone is seen in the next minute.
 */

#include <stdbool.h>
#include <stdint.h>

struct local_time {
    bool known;
    unsigned char weekday; /* 0 is Sunday */
    unsigned short minute; /* of the day, 0 to 1439 */
};

struct local_time local_time_at(uint64_t wall_ms);

/* One worker's memory of the current minute; zeroed at first. */
struct local_clock {
    uint64_t minute; /* of wall time, plus 1; 0: none */
    struct local_time time;
};

struct local_time local_clock_at(struct local_clock *clock, uint64_t wall_ms);
