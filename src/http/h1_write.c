// SPDX-License-Identifier: MIT
#include "http/h1_write.h"

#include "base/err.h"

static const struct {
    unsigned status;
    const char *phrase;
} reasons[] = {
    {100, "Continue"},
    {101, "Switching Protocols"},
    {103, "Early Hints"},
    {200, "OK"},
    {201, "Created"},
    {202, "Accepted"},
    {203, "Non-Authoritative Information"},
    {204, "No Content"},
    {205, "Reset Content"},
    {206, "Partial Content"},
    {300, "Multiple Choices"},
    {301, "Moved Permanently"},
    {302, "Found"},
    {303, "See Other"},
    {304, "Not Modified"},
    {305, "Use Proxy"},
    {307, "Temporary Redirect"},
    {308, "Permanent Redirect"},
    {400, "Bad Request"},
    {401, "Unauthorized"},
    {402, "Payment Required"},
    {403, "Forbidden"},
    {404, "Not Found"},
    {405, "Method Not Allowed"},
    {406, "Not Acceptable"},
    {407, "Proxy Authentication Required"},
    {408, "Request Timeout"},
    {409, "Conflict"},
    {410, "Gone"},
    {411, "Length Required"},
    {412, "Precondition Failed"},
    {413, "Content Too Large"},
    {414, "URI Too Long"},
    {415, "Unsupported Media Type"},
    {416, "Range Not Satisfiable"},
    {417, "Expectation Failed"},
    {421, "Misdirected Request"},
    {422, "Unprocessable Content"},
    {425, "Too Early"},
    {426, "Upgrade Required"},
    {428, "Precondition Required"},
    {429, "Too Many Requests"},
    {431, "Request Header Fields Too Large"},
    {451, "Unavailable For Legal Reasons"},
    {500, "Internal Server Error"},
    {501, "Not Implemented"},
    {502, "Bad Gateway"},
    {503, "Service Unavailable"},
    {504, "Gateway Timeout"},
    {505, "HTTP Version Not Supported"},
    {511, "Network Authentication Required"},
};

const char *h1_reason(unsigned status)
{
    for (size_t i = 0; i < ARRAY_LEN(reasons); i++) {
        if (reasons[i].status == status) {
            return reasons[i].phrase;
        }
    }
    return "";
}

static size_t fields_len(const struct field_list *fields)
{
    size_t len = 0;

    for (size_t i = 0; i < fields->count; i++) {
        const struct field *field = &fields->items[i];

        if (!field->dropped) {
            len += field->name.len + 2 + field->value.len + 2; /* ": " and CRLF */
        }
    }
    return len;
}

/* Behind the CRLF of a verbatim field. */
static const char *line_end(const struct field *field)
{
    return field->value.ptr + field->value.len + 2;
}

/* Verbatim lines that follow on each other are copied at once; *at is the first of them and becomes
 * the last. */
static void put_run(struct text *out, const struct field_list *fields, size_t *at)
{
    const char *begin = fields->items[*at].name.ptr;
    const char *end = line_end(&fields->items[*at]);

    while (*at + 1 < fields->count) {
        const struct field *next = &fields->items[*at + 1];

        if (next->dropped || !next->verbatim || next->name.ptr != end) {
            break;
        }
        end = line_end(next);
        ++*at;
    }
    text_put(out, str_make(begin, (size_t)(end - begin)));
}

static void put_fields(struct text *out, const struct field_list *fields)
{
    for (size_t i = 0; i < fields->count; i++) {
        const struct field *field = &fields->items[i];

        if (field->dropped) {
            continue;
        }
        if (field->verbatim) {
            put_run(out, fields, &i);
            continue;
        }
        text_put(out, field->name);
        text_put(out, STR(": "));
        text_put(out, field->value);
        text_put(out, STR("\r\n"));
    }
}

/* The parts of start, the fields and the blank line. */
static struct str write_head(struct arena *arena, const struct str *start, size_t parts,
                             const struct field_list *fields)
{
    size_t len = fields_len(fields) + 2;
    struct text out;
    char *dst;

    for (size_t i = 0; i < parts; i++) {
        len += start[i].len;
    }
    dst = arena_alloc_bytes(arena, len);
    if (!dst) {
        return str_make(NULL, 0);
    }
    out = text_over(dst, len);
    for (size_t i = 0; i < parts; i++) {
        text_put(&out, start[i]);
    }
    put_fields(&out, fields);
    text_put(&out, STR("\r\n"));
    ASSERT(out.len == len); /* both passes saw the same */
    return text_str(&out);
}

struct str h1_write_request(struct arena *arena, const struct request *request)
{
    const struct str start[] = {request->method_text, STR(" "), request->target.origin_form,
                                STR(" HTTP/1.1\r\n")};

    return write_head(arena, start, ARRAY_LEN(start), &request->fields);
}

struct str h1_write_response(struct arena *arena, const struct response *response)
{
    char digits[8];
    struct text status = TEXT_OVER(digits);

    text_u64(&status, response->status);
    const struct str start[] = {STR("HTTP/1.1 "), text_str(&status), STR(" "), response->reason,
                                STR("\r\n")};

    return write_head(arena, start, ARRAY_LEN(start), &response->fields);
}

size_t h1_write_chunk_head(char dst[H1_CHUNK_HEAD_MAX], uint64_t len)
{
    struct text out = text_over(dst, H1_CHUNK_HEAD_MAX);

    text_hex(&out, len, 1);
    text_put(&out, STR("\r\n"));
    return out.len;
}

struct str h1_write_last_chunk(struct arena *arena, const struct field_list *trailers)
{
    static const struct field_list none;
    const struct str start[] = {STR("0\r\n")};

    return write_head(arena, start, ARRAY_LEN(start), trailers ? trailers : &none);
}
