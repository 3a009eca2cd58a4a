// SPDX-License-Identifier: MIT
#include "log/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/text.h"
#include "log/event_line.h"
#include "log/journal.h"
#include "log/writer.h"

#define MSG_BYTES 1024
#define WHOLE_MSG_BYTES 12288 /* as it is written down: with the longest paths */
#define DOTS STR("...")

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

/* UTF-8: not the first byte of one. */
static bool is_inside_character(char byte)
{
    return ((unsigned char)byte & 0xc0) == 0x80;
}

/* text in dst, its middle replaced by "..." where it is too long: paths are what makes it so, and
 * what is said of them stands before and behind. No character is cut. */
static struct str shorten(char dst[MSG_BYTES], struct str text)
{
    size_t head = (MSG_BYTES - DOTS.len) / 2;
    size_t tail = text.len - MIN(text.len, MSG_BYTES - DOTS.len - head);
    struct text out = text_over(dst, MSG_BYTES);

    if (text.len <= MSG_BYTES) {
        text_put(&out, text);
        return text_str(&out);
    }
    while (head > 0 && is_inside_character(text.ptr[head])) {
        head--;
    }
    while (tail < text.len && is_inside_character(text.ptr[tail])) {
        tail++;
    }
    text_put(&out, str_head(text, head));
    text_put(&out, DOTS);
    text_put(&out, str_from(text, tail));
    return text_str(&out);
}

PRINTF_LIKE(2, 0)
static struct str format_msg(char dst[MSG_BYTES], const char *fmt, va_list args)
{
    char whole[WHOLE_MSG_BYTES];

    if (fmt == NULL) {
        return STR("");
    }
    return vsnprintf(whole, sizeof(whole), fmt, args) < 0 ? str_of(fmt)
                                                          : shorten(dst, str_of(whole));
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
