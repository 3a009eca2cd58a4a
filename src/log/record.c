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

struct line {
    struct text text;
    bool json;
};

/* text is the separator, the name and what follows it, as a literal: ` name=` or `,"name":`. */
#define PUT_NAME(line, name)                                                                       \
    text_put(&(line)->text, (line)->json ? STR(",\"" name "\":") : STR(" " name "="))

static void put_nothing(struct line *line)
{
    text_put(&line->text, line->json ? STR("null") : STR("-"));
}

static void put_value(struct line *line, struct str value, size_t max_bytes)
{
    if (value.len == 0) {
        put_nothing(line);
    } else if (line->json) {
        escape_put_json(&line->text, value, max_bytes);
    } else {
        escape_put_logfmt(&line->text, value, max_bytes);
    }
}

static void put_word(struct line *line, struct str value)
{
    put_value(line, value, WORD_MAX_BYTES);
}

static void put_addr(struct line *line, const struct addr *addr, bool with_port)
{
    if (addr->kind == ADDR_NONE) {
        put_nothing(line);
        return;
    }
    if (line->json) {
        text_char(&line->text, '"');
    }
    if (with_port) {
        addr_put_port(&line->text, addr);
    } else {
        addr_put(&line->text, addr);
    }
    if (line->json) {
        text_char(&line->text, '"');
    }
}

static void put_bool(struct line *line, bool value)
{
    if (line->json) {
        text_put(&line->text, value ? STR("true") : STR("false"));
    } else {
        text_put(&line->text, value ? STR("yes") : STR("no"));
    }
}

static void put_ms(struct line *line, uint32_t ms)
{
    if (ms == RECORD_MS_NONE) {
        put_nothing(line);
    } else {
        text_u64(&line->text, ms);
    }
}

static void put_time_and_event(struct line *line, const struct log_record *record)
{
    char time[CLOCK_RFC3339_LEN];

    clock_format_rfc3339(record->end_wall_ms, time);
    text_put(&line->text, line->json ? STR("{\"time\":\"") : STR("time="));
    text_put(&line->text, str_make(time, sizeof(time)));
    text_put(&line->text, line->json ? STR("\"") : STR(""));
    PUT_NAME(line, "event");
    put_word(line, str_of(record->event));
}

static void put_request(struct line *line, const struct log_record *record)
{
    PUT_NAME(line, "id");
    put_word(line, record->id);
    PUT_NAME(line, "client");
    put_addr(line, &record->client, false);
    PUT_NAME(line, "user");
    put_word(line, record->user);
    PUT_NAME(line, "listener");
    put_word(line, record->listener);
    PUT_NAME(line, "method");
    put_word(line, record->method);
    PUT_NAME(line, "target");
    put_value(line, record->target, TARGET_MAX_BYTES);
    PUT_NAME(line, "version");
    put_word(line, record->version);
    PUT_NAME(line, "status");
    if (record->status == 0) {
        put_nothing(line);
    } else {
        text_u64(&line->text, record->status);
    }
}

static void put_way(struct line *line, const struct log_record *record)
{
    PUT_NAME(line, "rule");
    put_word(line, record->rule);
    PUT_NAME(line, "would_deny");
    put_value(line, record->would_deny, LONG_MAX_BYTES);
    PUT_NAME(line, "route");
    put_word(line, record->route);
    PUT_NAME(line, "upstream");
    put_addr(line, &record->upstream, true);
    PUT_NAME(line, "reused");
    if (record->upstream.kind == ADDR_NONE) {
        put_nothing(line);
    } else {
        put_bool(line, record->reused);
    }
}

static void put_outcome(struct line *line, const struct log_record *record)
{
    PUT_NAME(line, "bytes_in");
    text_u64(&line->text, record->bytes_in);
    PUT_NAME(line, "bytes_out");
    text_u64(&line->text, record->bytes_out);
    PUT_NAME(line, "dns_ms");
    put_ms(line, record->dns_ms);
    PUT_NAME(line, "connect_ms");
    put_ms(line, record->connect_ms);
    PUT_NAME(line, "wait_ms");
    put_ms(line, record->wait_ms);
    PUT_NAME(line, "total_ms");
    put_ms(line, record->total_ms);
    PUT_NAME(line, "end");
    put_word(line, record->end);
}

static void put_named(struct text *out, const struct log_record *record, bool json)
{
    struct line line = {.text = *out, .json = json};

    put_time_and_event(&line, record);
    put_request(&line, record);
    put_way(&line, record);
    if (!is_opening(record)) {
        put_outcome(&line, record);
    }
    text_put(&line.text, json ? STR("}\n") : STR("\n"));
    *out = line.text;
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
        put_named(out, record, false);
        return;
    case LOG_FORMAT_JSON:
        put_named(out, record, true);
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
