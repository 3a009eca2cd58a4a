// SPDX-License-Identifier: MIT
#include "base/clock.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

static uint64_t read_ms(clockid_t id)
{
    struct timespec now;

    (void)clock_gettime(id, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

uint64_t clock_mono_ms(void)
{
    return read_ms(CLOCK_MONOTONIC);
}

uint64_t clock_wall_ms(void)
{
    return read_ms(CLOCK_REALTIME);
}

void clock_format_rfc3339(uint64_t wall_ms, char *dst)
{
    static _Thread_local time_t kept_second = -1;
    static _Thread_local char kept[64];
    time_t second = (time_t)(wall_ms / 1000);
    unsigned ms = (unsigned)(wall_ms % 1000);

    if (second != kept_second) {
        struct tm tm;

        (void)gmtime_r(&second, &tm);
        (void)strftime(kept, sizeof(kept), "%Y-%m-%dT%H:%M:%S.", &tm);
        kept_second = second;
    }
    memcpy(dst, kept, 20);
    dst[20] = (char)('0' + ms / 100);
    dst[21] = (char)('0' + ms / 10 % 10);
    dst[22] = (char)('0' + ms % 10);
    dst[23] = 'Z';
}

void clock_format_http(uint64_t wall_ms, char *dst)
{
    static _Thread_local time_t kept_second = -1;
    static _Thread_local char kept[64];
    time_t second = (time_t)(wall_ms / 1000);

    if (second != kept_second) {
        static const char days[] = "SunMonTueWedThuFriSat";
        static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
        struct tm tm;

        (void)gmtime_r(&second, &tm);
        (void)snprintf(kept, sizeof(kept), "%.3s, %02d %.3s %04d %02d:%02d:%02d GMT",
                       days + 3 * (tm.tm_wday % 7), tm.tm_mday, months + 3 * (tm.tm_mon % 12),
                       tm.tm_year + 1900, tm.tm_hour, tm.tm_min, tm.tm_sec);
        kept_second = second;
    }
    memcpy(dst, kept, CLOCK_HTTP_LEN);
}
