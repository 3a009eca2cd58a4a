// SPDX-License-Identifier: MIT
#pragma once

/*
 * The two clocks of the program: monotonic milliseconds for deadlines and
 * durations, wall time for the log and the Date field.
 */

#include <stddef.h>
#include <stdint.h>

uint64_t clock_mono_ms(void);
uint64_t clock_wall_ms(void); /* since the Unix epoch */

#define CLOCK_RFC3339_LEN 24 /* 2026-11-22T17:18:05.123Z */
#define CLOCK_HTTP_LEN 29    /* Sun, 06 Nov 1994 08:49:37 GMT (RFC 9110 5.6.7) */
/* Write exactly that many bytes and no NUL. The text of the last second is kept per thread. */
void clock_format_rfc3339(uint64_t wall_ms, char *dst);
void clock_format_http(uint64_t wall_ms, char *dst);
