// SPDX-License-Identifier: MIT
#pragma once

/*
 * Events of the program itself: one line each, of the same kind as access
 * lines (logfmt or, with log.access = json, JSON). Low rooms log at debug
 * only; the room that decides logs once. Before log_start events go to
 * stderr as plain text.
 */

#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/str.h"

struct log_writer;

enum log_level { LOG_ERROR, LOG_WARNING, LOG_NOTICE, LOG_INFO, LOG_DEBUG };

/* The level and the place of all events from now on; called once before threads start. writer is
 * borrowed and outlives all logging; NULL goes back to stderr. */
void log_start(struct log_writer *writer, enum log_level level, bool json);
bool log_enabled(enum log_level level);

/* One field of an event. Values are escaped when written; keys are literals. */
struct log_field {
    const char *key;
    enum { LOG_STR, LOG_U64 } type;
    struct str text;
    uint64_t number;
};
#define LOG_TEXT(k, s) ((struct log_field){.key = (k), .type = LOG_STR, .text = (s)})
#define LOG_NUM(k, n) ((struct log_field){.key = (k), .type = LOG_U64, .number = (n)})

/* time=... event=EVENT level=LEVEL [fields] msg="..." ; msg may be NULL. */
void log_fields(enum log_level level, const char *event, const struct log_field *fields,
                size_t count, const char *msg_fmt, ...) PRINTF_LIKE(5, 6);
#define log_event(level, event, ...) log_fields((level), (event), NULL, 0, __VA_ARGS__)
