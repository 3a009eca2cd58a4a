// SPDX-License-Identifier: MIT
#include "log/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "log/event_line.h"
#include "log/journal.h"
#include "log/writer.h"

#define MSG_BYTES 1024

/* Set once before threads start, and once more when they have ended. */
static struct {
    struct log_writer *_Atomic writer; /* borrowed; NULL: stderr */
    atomic_bool json;
    atomic_int level;
} state = {.level = LOG_INFO};

void log_start(struct log_writer *writer, enum log_level level, bool json)
{
    atomic_store(&state.level, (int)level);
    atomic_store(&state.json, json);
    atomic_store(&state.writer, writer);
}

bool log_enabled(enum log_level level)
{
    return (int)level <= atomic_load_explicit(&state.level, memory_order_relaxed);
}

/* The formatted message in buf, its end replaced by "..." where it is too long. */
PRINTF_LIKE(2, 0)
static struct str format_msg(char buf[MSG_BYTES], const char *fmt, va_list args)
{
    int len = fmt == NULL ? 0 : vsnprintf(buf, MSG_BYTES, fmt, args);

    if (len < 0) {
        return str_of(fmt);
    }
    if (len < MSG_BYTES) {
        return str_make(buf, (size_t)len);
    }
    memcpy(buf + MSG_BYTES - 4, "...", 4);
    return str_make(buf, MSG_BYTES - 1);
}

/* One write: nothing can be done where it fails. */
static void put_stderr(struct str line)
{
    ssize_t written = write(STDERR_FILENO, line.ptr, line.len);

    (void)written;
}

void log_fields(enum log_level level, const char *event, const struct log_field *fields,
                size_t count, const char *msg_fmt, ...)
{
    struct log_writer *writer = atomic_load_explicit(&state.writer, memory_order_acquire);
    char msg_buf[MSG_BYTES];
    char line_buf[JOURNAL_PREFIX_LEN + EVENT_LINE_MAX];
    struct text line = TEXT_OVER(line_buf);
    struct str msg;
    va_list args;

    if (!log_enabled(level)) {
        return;
    }
    va_start(args, msg_fmt);
    msg = format_msg(msg_buf, msg_fmt, args);
    va_end(args);
    if (writer == NULL) {
        text_put(&line, journal_prefix_on(STDERR_FILENO, level));
        event_line_put_plain(&line, level, event, fields, count, msg);
        put_stderr(text_str(&line));
        return;
    }
    text_put(&line, log_writer_prefix(writer, level));
    event_line_put(&line, atomic_load_explicit(&state.json, memory_order_relaxed), clock_wall_ms(),
                   level, event, fields, count, msg);
    /* The writer counts what it has no room for. */
    (void)!log_writer_put(writer, text_str(&line), 1);
}
