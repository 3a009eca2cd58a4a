// SPDX-License-Identifier: MIT
#pragma once

/*
 * The text of one event line, private to this room: for the events of log.c
 * and for what the writer has to say of itself.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"
#include "base/text.h"
#include "log/log.h"

#define EVENT_LINE_MAX 8192U /* bytes that a line takes at most, its '\n' included */

/* time=... event=EVENT level=LEVEL [fields] [msg="..."], or the same as a JSON object, and '\n'.
 * Long values are cut; where the fields do not fit all the same, those that do not are left out.
 * msg is left out when empty. out needs room for EVENT_LINE_MAX. */
void event_line_put(struct text *out, bool json, uint64_t wall_ms, enum log_level level,
                    const char *event, const struct log_field *fields, size_t count,
                    struct str msg);
/* The same for people: "viaduct: LEVEL: msg (key=value ...)" and '\n'; the event where msg is
 * empty. */
void event_line_put_plain(struct text *out, enum log_level level, const char *event,
                          const struct log_field *fields, size_t count, struct str msg);
