// SPDX-License-Identifier: MIT

/*
 * Untrusted bytes in every field of an access record, in all formats: one line each, no raw control
 * character, valid UTF-8; and readers written for this purpose alone find the same values in the
 * JSON line and in the logfmt line, which are those that were put in.
 */

#include <string.h>

#include "fuzz.h"
#include "log/escape.h"
#include "log/event_line.h"
#include "log/record.h"

#define VALUES_MAX 32

struct value {
    char key[24];
    struct fuzz_bytes text; /* decoded, UTF-8 */
    bool is_null;
    bool is_string;
};

struct values {
    struct value items[VALUES_MAX];
    size_t count;
};

static void free_values(struct values *values)
{
    for (size_t i = 0; i < values->count; i++) {
        fuzz_bytes_free(&values->items[i].text);
    }
    values->count = 0;
}

/* ---- UTF-8 ---- */

/* The code point at the front of s and its length, or 0 when it is not well-formed. */
static size_t decode(struct str s, uint32_t *ret)
{
    uint8_t a = s.len > 0 ? (uint8_t)s.ptr[0] : 0;
    uint8_t b[3] = {0};

    for (size_t i = 0; i < 3 && i + 1 < s.len; i++) {
        b[i] = (uint8_t)s.ptr[i + 1] ^ 0x80; /* below 0x40 when it is a continuation byte */
    }
    if (a < 0x80) {
        *ret = a;
        return s.len > 0 ? 1 : 0;
    }
    if (a >= 0xc2 && a < 0xe0 && s.len >= 2 && b[0] < 0x40) {
        *ret = (uint32_t)(a & 0x1f) << 6 | b[0];
        return 2;
    }
    if (a >= 0xe0 && a < 0xf0 && s.len >= 3 && b[0] < 0x40 && b[1] < 0x40) {
        *ret = (uint32_t)(a & 0x0f) << 12 | (uint32_t)b[0] << 6 | b[1];
        return *ret >= 0x800 && (*ret < 0xd800 || *ret > 0xdfff) ? 3 : 0;
    }
    if (a >= 0xf0 && a < 0xf5 && s.len >= 4 && b[0] < 0x40 && b[1] < 0x40 && b[2] < 0x40) {
        *ret = (uint32_t)(a & 0x07) << 18 | (uint32_t)b[0] << 12 | (uint32_t)b[1] << 6 | b[2];
        return *ret >= 0x10000 && *ret <= 0x10ffff ? 4 : 0;
    }
    return 0;
}

static void put_code(struct fuzz_bytes *out, uint32_t code)
{
    char buf[4];
    size_t len = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    static const uint8_t lead[] = {0, 0, 0xc0, 0xe0, 0xf0};

    for (size_t i = len; i-- > 1; code >>= 6) {
        buf[i] = (char)(0x80 | (code & 0x3f));
    }
    buf[0] = (char)(lead[len] | code);
    fuzz_bytes_put(out, str_make(buf, len));
}

/* What a reader of the log must get for s: a byte that is no UTF-8 stands as the character of its
 * number. */
static void expect(struct str s, struct fuzz_bytes *ret)
{
    while (s.len > 0) {
        uint32_t code = (uint8_t)s.ptr[0];
        size_t len = decode(s, &code);

        put_code(ret, len > 0 ? code : (uint8_t)s.ptr[0]);
        s = str_from(s, len > 0 ? len : 1);
    }
}

static void check_text(struct str s, bool ascii)
{
    while (s.len > 0) {
        uint32_t code = 0;
        size_t len = decode(s, &code);

        CHECK(len > 0, "not UTF-8");
        CHECK(code >= ' ' && code != 0x7f && (code < 0x80 || code > 0x9f), "control U+%04x", code);
        CHECK(code != 0x2028 && code != 0x2029 && (code < 0x202a || code > 0x202e) &&
                  code != 0xfeff,
              "U+%04x", code);
        CHECK(!ascii || code < 0x7f, "U+%04x is not ASCII", code);
        s = str_from(s, len);
    }
}

/* One line: its text without the '\n'. */
static struct str check_line(struct str line, bool ascii)
{
    CHECK(line.len > 1 && line.ptr[line.len - 1] == '\n', "no line");
    line.len--;
    check_text(line, ascii);
    return line;
}

/* ---- A reader of JSON (RFC 8259), and one of logfmt ---- */

static uint32_t read_hex(struct str *s)
{
    uint32_t code = 0;

    CHECK(s->len >= 4, "a short \\u");
    for (size_t i = 0; i < 4; i++) {
        char c = s->ptr[i];
        int digit = c >= '0' && c <= '9'   ? c - '0'
                    : c >= 'a' && c <= 'f' ? c - 'a' + 10
                    : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                           : -1;

        CHECK(digit >= 0, "not hex");
        code = code << 4 | (uint32_t)digit;
    }
    *s = str_from(*s, 4);
    return code;
}

static uint32_t read_escape(struct str *s)
{
    static const char names[] = "\"\\/bfnrt";
    static const char chars[] = "\"\\/\b\f\n\r\t";
    char c = s->len > 0 ? s->ptr[0] : '\0';
    const char *name = c != '\0' ? strchr(names, c) : NULL;
    uint32_t code;

    CHECK(name || c == 'u', "escape 0x%02x", (unsigned char)c);
    *s = str_from(*s, 1);
    if (name) {
        return (uint8_t)chars[name - names];
    }
    code = read_hex(s);
    CHECK(code < 0xdc00 || code > 0xdfff, "a lone surrogate");
    if (code >= 0xd800 && code < 0xdc00) {
        uint32_t low;

        CHECK(str_starts(*s, STR("\\u")), "a lone surrogate");
        *s = str_from(*s, 2);
        low = read_hex(s);
        CHECK(low >= 0xdc00 && low <= 0xdfff, "a lone surrogate");
        return 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
    }
    return code;
}

/* A string behind its first quote. */
static void read_string(struct str *s, struct fuzz_bytes *ret)
{
    while (s->len > 0 && s->ptr[0] != '"') {
        uint32_t code = 0;
        size_t len = decode(*s, &code);

        CHECK(len > 0 && code >= ' ', "a raw control character or bad UTF-8");
        *s = str_from(*s, len);
        put_code(ret, code == '\\' ? read_escape(s) : code);
    }
    CHECK(s->len > 0, "a string without end");
    *s = str_from(*s, 1);
}

static bool take(struct str *s, struct str what)
{
    if (!str_starts(*s, what)) {
        return false;
    }
    *s = str_from(*s, what.len);
    return true;
}

static struct value *add_value(struct values *values, struct str key)
{
    struct value *value = &values->items[values->count++];

    CHECK(values->count <= VALUES_MAX && key.len < sizeof(value->key), "too much");
    *value = (struct value){0};
    memcpy(value->key, key.ptr, key.len);
    for (size_t i = 0; i + 1 < values->count; i++) {
        CHECK(strcmp(values->items[i].key, value->key) != 0, "%s stands twice", value->key);
    }
    return value;
}

static void read_json_value(struct str *s, struct value *value)
{
    size_t len = 0;

    if (take(s, STR("\""))) {
        value->is_string = true;
        read_string(s, &value->text);
    } else if (take(s, STR("null"))) {
        value->is_null = true;
    } else if (take(s, STR("true"))) {
        fuzz_bytes_put(&value->text, STR("yes"));
    } else if (take(s, STR("false"))) {
        fuzz_bytes_put(&value->text, STR("no"));
    } else {
        while (len < s->len && s->ptr[len] >= '0' && s->ptr[len] <= '9') {
            len++;
        }
        CHECK(len == 1 || (len > 1 && s->ptr[0] != '0'), "not a number");
        fuzz_bytes_put(&value->text, str_head(*s, len));
        *s = str_from(*s, len);
    }
}

static void read_json(struct str line, struct values *ret)
{
    CHECK(take(&line, STR("{")), "no object");
    do {
        struct fuzz_bytes key = {0};

        CHECK(take(&line, STR("\"")), "no key");
        read_string(&line, &key);
        CHECK(take(&line, STR(":")), "no colon");
        read_json_value(&line, add_value(ret, fuzz_bytes_str(&key)));
        fuzz_bytes_free(&key);
    } while (take(&line, STR(",")));
    CHECK(str_eq(line, STR("}")), "the end of the object");
}

static void read_logfmt(struct str line, struct values *ret)
{
    do {
        size_t len = str_find(line, '=');
        struct value *value = add_value(ret, str_head(line, len));

        line = str_from(line, len + 1);
        if (take(&line, STR("\""))) {
            value->is_string = true;
            read_string(&line, &value->text);
            continue;
        }
        len = str_find(line, ' ');
        CHECK(len > 0 && !str_has(str_head(line, len), '"') && !str_has(str_head(line, len), '='),
              "a bare value");
        value->is_null = str_eq(str_head(line, len), STR("-"));
        fuzz_bytes_put(&value->text, value->is_null ? STR("") : str_head(line, len));
        line = str_from(line, len);
    } while (take(&line, STR(" ")));
    CHECK(line.len == 0, "a rest: %.*s", STR_ARG(line));
}

static struct value *find(struct values *values, const char *key)
{
    for (size_t i = 0; i < values->count; i++) {
        if (strcmp(values->items[i].key, key) == 0) {
            return &values->items[i];
        }
    }
    CHECK(false, "no %s", key);
    return NULL;
}

/* ---- The formats ---- */

/* What stands in the line is what was put in, or its front with "...". */
static void check_value(struct values *values, const char *key, struct str put)
{
    struct value *value = find(values, key);
    struct fuzz_bytes want = {0};
    struct str got = fuzz_bytes_str(&value->text);

    expect(put, &want);
    CHECK(value->is_null == (put.len == 0), "%s", key);
    if (!str_eq(got, fuzz_bytes_str(&want))) {
        CHECK(got.len > 80 && str_ends(got, STR("...")), "%s: %.*s", key, STR_ARG(got));
        CHECK(str_starts(fuzz_bytes_str(&want), str_head(got, got.len - 3)), "%s", key);
    }
    fuzz_bytes_free(&want);
}

static void check_same(const struct values *json, const struct values *logfmt)
{
    CHECK(json->count == logfmt->count, "%zu and %zu values", json->count, logfmt->count);
    for (size_t i = 0; i < json->count; i++) {
        const struct value *a = &json->items[i];
        const struct value *b = &logfmt->items[i];

        CHECK(strcmp(a->key, b->key) == 0 && a->is_null == b->is_null, "%s and %s", a->key, b->key);
        CHECK(str_eq(fuzz_bytes_str(&a->text), fuzz_bytes_str(&b->text)), "%s", a->key);
    }
}

/* A quoted part behind its first quote; returns what follows the closing one. */
static struct str skip_quoted(struct str s)
{
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] == '\\') {
            i++;
        } else if (s.ptr[i] == '"') {
            return str_from(s, i + 1);
        }
    }
    CHECK(false, "a quote without end");
    return s;
}

static struct str skip_word(struct str s)
{
    size_t len = str_find(s, ' ');

    CHECK(len > 0, "an empty word");
    return str_from(s, len < s.len ? len + 1 : len);
}

/* client - user [time] "request" status bytes "referer" "agent" */
static void check_clf(struct str s, bool combined)
{
    s = skip_word(s);
    CHECK(take(&s, STR("- ")), "ident");
    CHECK(s.ptr[0] != '[', "user");
    s = skip_word(s);
    CHECK(take(&s, STR("[")) && s.len > 28 && s.ptr[26] == ']', "time");
    s = str_from(s, 28);
    CHECK(take(&s, STR("\"")), "request");
    s = skip_quoted(s);
    CHECK(take(&s, STR(" ")), "behind the request");
    s = skip_word(skip_word(s));
    for (int i = 0; combined && i < 2; i++) {
        CHECK(take(&s, STR("\"")), "quoted field %d", i);
        s = skip_quoted(s);
        CHECK(i == 1 || take(&s, STR(" ")), "behind the referer");
    }
    CHECK(s.len == 0, "a rest: %.*s", STR_ARG(s));
}

/* Ten words with one blank between; the second is padded to the right. */
static void check_squid(struct str s)
{
    size_t words = 0;

    while (s.len > 0 && s.ptr[0] == ' ') {
        s = str_from(s, 1);
    }
    for (; s.len > 0; words++) {
        s = skip_word(s);
        while (words == 0 && s.len > 0 && s.ptr[0] == ' ') {
            s = str_from(s, 1);
        }
    }
    CHECK(words == 10, "%zu words", words);
}

static char line_space[RECORD_LINE_MAX];

static struct str put_line(enum log_format format, const struct log_record *record, bool ascii)
{
    struct text out = TEXT_OVER(line_space);

    log_record_put(&out, format, record);
    CHECK(!out.full, "the line did not fit");
    return check_line(text_str(&out), ascii);
}

static void check_record(const struct log_record *record)
{
    struct values json = {0};
    struct values logfmt = {0};

    read_json(put_line(LOG_FORMAT_JSON, record, false), &json);
    read_logfmt(put_line(LOG_FORMAT_LOGFMT, record, false), &logfmt);
    check_same(&json, &logfmt);
    check_value(&json, "id", record->id);
    check_value(&json, "user", record->user);
    check_value(&json, "method", record->method);
    check_value(&json, "target", record->target);
    check_value(&json, "version", record->version);
    check_value(&json, "rule", record->rule);
    check_value(&json, "end", record->end);
    check_clf(put_line(LOG_FORMAT_COMBINED, record, true), true);
    check_clf(put_line(LOG_FORMAT_COMMON, record, true), false);
    check_squid(put_line(LOG_FORMAT_SQUID, record, true));
    free_values(&json);
    free_values(&logfmt);
}

static void check_event(struct str a, struct str b, struct str msg)
{
    const struct log_field fields[] = {LOG_TEXT("address", a), LOG_TEXT("reason", b),
                                       LOG_NUM("number", a.len)};
    char space[EVENT_LINE_MAX];
    struct values json = {0};
    struct values logfmt = {0};
    struct text out = TEXT_OVER(space);

    event_line_put(&out, true, 1234567890123, LOG_WARNING, "fuzz", fields, 3, msg);
    read_json(check_line(text_str(&out), false), &json);
    out = TEXT_OVER(space);
    event_line_put(&out, false, 1234567890123, LOG_WARNING, "fuzz", fields, 3, msg);
    read_logfmt(check_line(text_str(&out), false), &logfmt);
    out = TEXT_OVER(space);
    event_line_put_plain(&out, LOG_WARNING, "fuzz", fields, 3, msg);
    (void)check_line(text_str(&out), false);
    CHECK(json.count == logfmt.count, "%zu and %zu values", json.count, logfmt.count);
    free_values(&json);
    free_values(&logfmt);
}

/* Short rooms: never more than asked for, never half an escape. */
static void check_cut(struct str s, size_t max)
{
    char space[600];
    struct text out = TEXT_OVER(space);
    struct fuzz_bytes got = {0};
    struct str rest;

    escape_put_json(&out, s, max);
    CHECK(!out.full && out.len <= max + 2, "%zu bytes, not %zu", out.len, max);
    check_text(text_str(&out), false);
    rest = str_from(text_str(&out), 1);
    read_string(&rest, &got);
    CHECK(rest.len == 0, "a rest");
    fuzz_bytes_free(&got);
}

/* ---- The input: texts with a byte for their length before each; the target has the rest ---- */

static struct str next_text(struct str *in)
{
    size_t len = in->len > 0 ? (uint8_t)in->ptr[0] : 0;
    struct str text = str_head(str_from(*in, 1), len);

    *in = str_from(*in, 1 + text.len);
    return text;
}

/* Long values, from a short input. */
static struct fuzz_bytes repeat(struct str s, size_t times)
{
    struct fuzz_bytes out = {0};

    for (size_t i = 0; i < times; i++) {
        fuzz_bytes_put(&out, s);
    }
    return out;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str in = str_make((const char *)data, size);
    uint8_t flags = size > 0 ? data[0] : 0;
    struct log_record record = {.event = "request", .route = STR("direct")};
    struct fuzz_bytes target;

    in = str_from(in, 1);
    record.id = next_text(&in);
    record.user = next_text(&in);
    record.method = next_text(&in);
    record.version = next_text(&in);
    record.rule = next_text(&in);
    record.would_deny = next_text(&in);
    record.end = next_text(&in);
    record.listener = next_text(&in);
    record.referer = next_text(&in);
    record.user_agent = next_text(&in);
    record.content_type = next_text(&in);
    target = repeat(in, flags == 255 ? 1 + 12000 / (in.len + 1) : 1);
    record.target = fuzz_bytes_str(&target);
    record.status = flags & 16 ? 0 : 200;
    record.client = addr_ip4(192, 0, 2, 1, 0);
    record.upstream = flags & 32 ? addr_ip4(192, 0, 2, 2, 80) : (struct addr){0};
    record.dns_ms = flags & 64 ? RECORD_MS_NONE : flags;
    record.end_wall_ms = 1234567890123U + flags;
    check_record(&record);
    check_event(record.user, record.method, record.target);
    check_cut(in, 4 + flags);
    fuzz_bytes_free(&target);
    return 0;
}
