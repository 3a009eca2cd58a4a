// SPDX-License-Identifier: MIT
#include "log/event_line.h"

#include "base/clock.h"
#include "base/err.h"
#include "log/escape.h"

#define VALUE_MAX_BYTES 1024U
#define MSG_MAX_BYTES 2048U
/* What stands behind the fields: separator, name, quotes, dots, the message, brace, '\n'. */
#define TAIL_MAX_BYTES (MSG_MAX_BYTES + 32U)

static const char *level_name(enum log_level level)
{
    switch (level) {
    case LOG_ERROR:
        return "error";
    case LOG_WARNING:
        return "warning";
    case LOG_NOTICE:
        return "notice";
    case LOG_INFO:
        return "info";
    case LOG_DEBUG:
        return "debug";
    }
    ASSERT(false);
    return "";
}

static void put_name(struct text *out, bool json, const char *name)
{
    text_put(out, json ? STR(",\"") : STR(" "));
    text_puts(out, name);
    text_put(out, json ? STR("\":") : STR("="));
}

static void put_value(struct text *out, bool json, struct str value, size_t max_bytes)
{
    if (json) {
        escape_put_json(out, value, max_bytes);
    } else {
        escape_put_logfmt(out, value, max_bytes);
    }
}

/* Leaves out a field that would take out beyond max_len bytes. */
static void put_fields(struct text *out, bool json, const struct log_field *fields, size_t count,
                       size_t max_len)
{
    for (size_t i = 0; i < count; i++) {
        char bytes[VALUE_MAX_BYTES + 128];
        struct text part = TEXT_OVER(bytes);

        put_name(&part, json, fields[i].key);
        if (fields[i].type == LOG_U64) {
            text_u64(&part, fields[i].number);
        } else {
            put_value(&part, json, fields[i].text, VALUE_MAX_BYTES);
        }
        if (!part.full && out->len + part.len <= max_len) {
            text_put(out, text_str(&part));
        }
    }
}

void event_line_put(struct text *out, bool json, uint64_t wall_ms, enum log_level level,
                    const char *event, const struct log_field *fields, size_t count, struct str msg)
{
    size_t max_len = out->len + EVENT_LINE_MAX - TAIL_MAX_BYTES;
    char time[CLOCK_RFC3339_LEN];

    clock_format_rfc3339(wall_ms, time);
    text_put(out, json ? STR("{\"time\":\"") : STR("time="));
    text_put(out, str_make(time, sizeof(time)));
    text_put(out, json ? STR("\"") : STR(""));
    put_name(out, json, "event");
    put_value(out, json, str_of(event), VALUE_MAX_BYTES);
    put_name(out, json, "level");
    put_value(out, json, str_of(level_name(level)), VALUE_MAX_BYTES);
    put_fields(out, json, fields, count, max_len);
    if (msg.len > 0) {
        /* Quoted in logfmt too, be it one word: people look for msg=". */
        put_name(out, json, "msg");
        escape_put_json(out, msg, MSG_MAX_BYTES);
    }
    text_put(out, json ? STR("}\n") : STR("\n"));
}

void event_line_put_plain(struct text *out, enum log_level level, const char *event,
                          const struct log_field *fields, size_t count, struct str msg)
{
    char bytes[EVENT_LINE_MAX - TAIL_MAX_BYTES];
    struct text list = TEXT_OVER(bytes);

    put_fields(&list, false, fields, count, sizeof(bytes));
    text_put(out, STR("viaduct: "));
    text_puts(out, level_name(level));
    text_put(out, STR(": "));
    escape_put(out, msg.len > 0 ? msg : str_of(event), ESCAPE_PLAIN, MSG_MAX_BYTES - 64);
    if (list.len > 0) {
        text_put(out, STR(" ("));
        text_put(out, str_from(text_str(&list), 1));
        text_char(out, ')');
    }
    text_char(out, '\n');
}
