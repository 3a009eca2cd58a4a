// SPDX-License-Identifier: MIT
#include "log/record.h"

#include <assert.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "log/escape.h"

/* What the escaped form of one value may take. The target has most of the line; the sum leaves room
 * for names, numbers and addresses in every format. */
#define TARGET_MAX_BYTES (32U * 1024)
#define LONG_MAX_BYTES (4U * 1024) /* would_deny; Referer, User-Agent */
#define WORD_MAX_BYTES 512U

static_assert(TARGET_MAX_BYTES + 2 * LONG_MAX_BYTES + 9 * WORD_MAX_BYTES + 1024 <= RECORD_LINE_MAX,
              "a line with every value at its longest fits");

/* The line at a tunnel's opening, before there is anything to count. */
static bool is_opening(const struct log_record *record)
{
    return strcmp(record->event, "tunnel") == 0;
}

/* --- logfmt and JSON: one list of fields, two ways to put each --- */

/* json is a constant wherever the compiler looks: it makes two functions out of the one list, and
 * each name a plain copy. */
#define BOTH_WAYS static inline __attribute__((always_inline))

/* name, as a literal: ` name=` or `,"name":`. */
#define PUT_NAME(out, json, name)                                                                  \
    text_put((out), (json) ? STR(",\"" name "\":") : STR(" " name "="))

BOTH_WAYS void put_nothing(struct text *out, bool json)
{
    text_put(out, json ? STR("null") : STR("-"));
}

BOTH_WAYS void put_value(struct text *out, bool json, struct str value, size_t max_bytes)
{
    if (value.len == 0) {
        put_nothing(out, json);
    } else if (json) {
        escape_put_json(out, value, max_bytes);
    } else {
        escape_put_logfmt(out, value, max_bytes);
    }
}

BOTH_WAYS void put_word(struct text *out, bool json, struct str value)
{
    put_value(out, json, value, WORD_MAX_BYTES);
}

BOTH_WAYS void put_addr(struct text *out, bool json, const struct addr *addr, bool with_port)
{
    if (addr->kind == ADDR_NONE) {
        put_nothing(out, json);
        return;
    }
    text_put(out, json ? STR("\"") : STR(""));
    if (with_port) {
        addr_put_port(out, addr);
    } else {
        addr_put(out, addr);
    }
    text_put(out, json ? STR("\"") : STR(""));
}

BOTH_WAYS void put_bool(struct text *out, bool json, bool value)
{
    if (json) {
        text_put(out, value ? STR("true") : STR("false"));
    } else {
        text_put(out, value ? STR("yes") : STR("no"));
    }
}

BOTH_WAYS void put_ms(struct text *out, bool json, uint32_t ms)
{
    if (ms == RECORD_MS_NONE) {
        put_nothing(out, json);
    } else {
        text_u64(out, ms);
    }
}

BOTH_WAYS void put_time_and_event(struct text *out, bool json, const struct log_record *record)
{
    char time[CLOCK_RFC3339_LEN];

    clock_format_rfc3339(record->end_wall_ms, time);
    text_put(out, json ? STR("{\"time\":\"") : STR("time="));
    text_put(out, str_make(time, sizeof(time)));
    text_put(out, json ? STR("\"") : STR(""));
    PUT_NAME(out, json, "event");
    put_word(out, json, str_of(record->event));
}

BOTH_WAYS void put_request(struct text *out, bool json, const struct log_record *record)
{
    PUT_NAME(out, json, "id");
    put_word(out, json, record->id);
    PUT_NAME(out, json, "client");
    put_addr(out, json, &record->client, false);
    PUT_NAME(out, json, "user");
    put_word(out, json, record->user);
    PUT_NAME(out, json, "listener");
    put_word(out, json, record->listener);
    PUT_NAME(out, json, "method");
    put_word(out, json, record->method);
    PUT_NAME(out, json, "target");
    put_value(out, json, record->target, TARGET_MAX_BYTES);
    PUT_NAME(out, json, "version");
    put_word(out, json, record->version);
    PUT_NAME(out, json, "status");
    if (record->status == 0) {
        put_nothing(out, json);
    } else {
        text_u64(out, record->status);
    }
}

BOTH_WAYS void put_way(struct text *out, bool json, const struct log_record *record)
{
    PUT_NAME(out, json, "rule");
    put_word(out, json, record->rule);
    PUT_NAME(out, json, "would_deny");
    put_value(out, json, record->would_deny, LONG_MAX_BYTES);
    PUT_NAME(out, json, "route");
    put_word(out, json, record->route);
    PUT_NAME(out, json, "upstream");
    put_addr(out, json, &record->upstream, true);
    PUT_NAME(out, json, "reused");
    if (record->upstream.kind == ADDR_NONE) {
        put_nothing(out, json);
    } else {
        put_bool(out, json, record->reused);
    }
}

BOTH_WAYS void put_outcome(struct text *out, bool json, const struct log_record *record)
{
    PUT_NAME(out, json, "bytes_in");
    text_u64(out, record->bytes_in);
    PUT_NAME(out, json, "bytes_out");
    text_u64(out, record->bytes_out);
    PUT_NAME(out, json, "dns_ms");
    put_ms(out, json, record->dns_ms);
    PUT_NAME(out, json, "connect_ms");
    put_ms(out, json, record->connect_ms);
    PUT_NAME(out, json, "wait_ms");
    put_ms(out, json, record->wait_ms);
    PUT_NAME(out, json, "total_ms");
    put_ms(out, json, record->total_ms);
    PUT_NAME(out, json, "end");
    put_word(out, json, record->end);
}

BOTH_WAYS void put_named(struct text *out, bool json, const struct log_record *record)
{
    put_time_and_event(out, json, record);
    put_request(out, json, record);
    put_way(out, json, record);
    if (!is_opening(record)) {
        put_outcome(out, json, record);
    }
    text_put(out, json ? STR("}\n") : STR("\n"));
}

static void put_logfmt(struct text *out, const struct log_record *record)
{
    put_named(out, false, record);
}

static void put_json(struct text *out, const struct log_record *record)
{
    put_named(out, true, record);
}

/* --- combined and common --- */

/* A word, or what stands for none. */
static void put_or(struct text *out, struct str value, enum escape_style style, size_t max_bytes,
                   struct str none)
{
    if (value.len == 0) {
        text_put(out, none);
    } else {
        escape_put(out, value, style, max_bytes);
    }
}

/* [06/Nov/1994:08:49:37 +0000], cut out of "Sun, 06 Nov 1994 08:49:37 GMT". */
static void put_clf_time(struct text *out, uint64_t wall_ms)
{
    char http[CLOCK_HTTP_LEN];

    clock_format_http(wall_ms, http);
    text_char(out, '[');
    text_put(out, str_make(http + 5, 2));
    text_char(out, '/');
    text_put(out, str_make(http + 8, 3));
    text_char(out, '/');
    text_put(out, str_make(http + 12, 4));
    text_char(out, ':');
    text_put(out, str_make(http + 17, 8));
    text_put(out, STR(" +0000]"));
}

/* "GET http://example.com/ HTTP/1.1": always three words, two when the version is not known (as of
 * HTTP/0.9), or "-". Blanks are escaped, so that there are never more. */
static void put_request_line(struct text *out, const struct log_record *record)
{
    if (record->method.len == 0 || record->target.len == 0) {
        text_put(out, STR("\"-\""));
        return;
    }
    text_char(out, '"');
    escape_put(out, record->method, ESCAPE_APACHE_WORD, WORD_MAX_BYTES);
    text_char(out, ' ');
    escape_put(out, record->target, ESCAPE_APACHE_WORD, TARGET_MAX_BYTES);
    if (record->version.len > 0) {
        text_char(out, ' ');
        escape_put(out, record->version, ESCAPE_APACHE_WORD, WORD_MAX_BYTES);
    }
    text_char(out, '"');
}

static void put_clf_quoted(struct text *out, struct str value)
{
    text_put(out, STR(" \""));
    put_or(out, value, ESCAPE_APACHE, LONG_MAX_BYTES, STR("-"));
    text_char(out, '"');
}

static void put_clf(struct text *out, const struct log_record *record, bool combined)
{
    addr_put(out, &record->client);
    text_put(out, STR(" - "));
    put_or(out, record->user, ESCAPE_APACHE_WORD, WORD_MAX_BYTES, STR("-"));
    text_char(out, ' ');
    put_clf_time(out, record->start_wall_ms);
    text_char(out, ' ');
    put_request_line(out, record);
    text_char(out, ' ');
    if (record->status == 0) {
        text_char(out, '-');
    } else {
        text_u64(out, record->status);
    }
    text_char(out, ' ');
    text_u64(out, record->body_bytes_out);
    if (combined) {
        put_clf_quoted(out, record->referer);
        put_clf_quoted(out, record->user_agent);
    }
    text_char(out, '\n');
}

/* --- Squid's native format --- */

static void put_padded(struct text *out, uint64_t value, char pad, size_t width)
{
    char digits[20];
    struct text number = TEXT_OVER(digits);

    text_u64(&number, value);
    for (size_t len = number.len; len < width; len++) {
        text_char(out, pad);
    }
    text_put(out, text_str(&number));
}

static struct str squid_tag(const struct log_record *record)
{
    if (str_eq(record->end, STR("denied"))) {
        return STR("TCP_DENIED/");
    }
    if (record->upstream.kind == ADDR_NONE) {
        return STR("NONE/");
    }
    return record->is_connect ? STR("TCP_TUNNEL/") : STR("TCP_MISS/");
}

/* The media type alone: Squid leaves out what follows ';' or a blank. */
static struct str media_type(struct str value)
{
    size_t len = 0;

    while (len < value.len && value.ptr[len] != ';' && value.ptr[len] != ' ' &&
           value.ptr[len] != '\t') {
        len++;
    }
    return str_head(value, len);
}

/* time elapsed client tag/status bytes method target user hierarchy/peer type */
static void put_squid(struct text *out, const struct log_record *record)
{
    put_padded(out, record->end_wall_ms / 1000, ' ', 9);
    text_char(out, '.');
    put_padded(out, record->end_wall_ms % 1000, '0', 3);
    text_char(out, ' ');
    put_padded(out, record->total_ms == RECORD_MS_NONE ? 0 : record->total_ms, ' ', 6);
    text_char(out, ' ');
    addr_put(out, &record->client);
    text_char(out, ' ');
    text_put(out, squid_tag(record));
    put_padded(out, record->status, '0', 3);
    text_char(out, ' ');
    text_u64(out, record->bytes_out);
    text_char(out, ' ');
    /* Squid's own words for a request that it could not read. */
    put_or(out, record->method, ESCAPE_PERCENT, WORD_MAX_BYTES, STR("NONE"));
    text_char(out, ' ');
    put_or(out, record->target, ESCAPE_PERCENT, TARGET_MAX_BYTES, STR("error:invalid-request"));
    text_char(out, ' ');
    put_or(out, record->user, ESCAPE_PERCENT, WORD_MAX_BYTES, STR("-"));
    text_put(out, record->upstream.kind == ADDR_NONE ? STR(" HIER_NONE/") : STR(" HIER_DIRECT/"));
    addr_put(out, &record->upstream);
    text_char(out, ' ');
    put_or(out, media_type(record->content_type), ESCAPE_PERCENT, WORD_MAX_BYTES, STR("-"));
    text_char(out, '\n');
}

/* --- All formats --- */

static void put_in_format(struct text *out, enum log_format format, const struct log_record *record)
{
    switch (format) {
    case LOG_FORMAT_LOGFMT:
        put_logfmt(out, record);
        return;
    case LOG_FORMAT_JSON:
        put_json(out, record);
        return;
    case LOG_FORMAT_COMBINED:
    case LOG_FORMAT_COMMON:
        if (!is_opening(record)) {
            put_clf(out, record, format == LOG_FORMAT_COMBINED);
        }
        return;
    case LOG_FORMAT_SQUID:
        if (!is_opening(record)) {
            put_squid(out, record);
        }
        return;
    case LOG_FORMAT_OFF:
        return;
    }
    ASSERT(false);
}

void log_record_put(struct text *out, enum log_format format, const struct log_record *record)
{
    struct text line = text_over(out->ptr + out->len, out->cap - out->len);

    put_in_format(&line, format, record);
    if (line.full) {
        out->full = true;
    } else {
        out->len += line.len;
    }
}

void log_escape_logfmt(struct text *out, struct str s)
{
    escape_put_logfmt(out, s, ESCAPE_NO_MAX);
}

void log_escape_json(struct text *out, struct str s)
{
    escape_put_json(out, s, ESCAPE_NO_MAX);
}
