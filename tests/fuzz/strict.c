// SPDX-License-Identifier: MIT
#include "strict.h"

#include <string.h>
#include <strings.h>

#include "base/str.h"
#include "fuzz.h"

static bool is_token_char(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
           (c != '\0' && strchr("!#$%&'*+-.^_`|~", c));
}

bool strict_is_token(struct str s)
{
    for (size_t i = 0; i < s.len; i++) {
        if (!is_token_char(s.ptr[i])) {
            return false;
        }
    }
    return s.len > 0;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static bool has_control(struct str s)
{
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.ptr[i];

        if ((c < ' ' && c != '\t') || c == 0x7f) {
            return true;
        }
    }
    return false;
}

bool strict_is_value(struct str s)
{
    return !has_control(s) && (s.len == 0 || (!is_blank(s.ptr[0]) && !is_blank(s.ptr[s.len - 1])));
}

/* The line at the front of in, without its CRLF. A CR or LF anywhere else is BAD. */
static enum strict_result read_line(struct str in, struct str *ret)
{
    for (size_t i = 0; i < in.len; i++) {
        if (in.ptr[i] == '\n') {
            return STRICT_BAD;
        }
        if (in.ptr[i] == '\r') {
            if (i + 1 == in.len) {
                return STRICT_MORE;
            }
            *ret = str_make(in.ptr, i);
            return in.ptr[i + 1] == '\n' ? STRICT_OK : STRICT_BAD;
        }
    }
    return STRICT_MORE;
}

/* The line that begins at in.ptr[*at], which moves behind it. */
static enum strict_result next_line(struct str in, size_t *at, struct str *ret)
{
    enum strict_result result = read_line(str_from(in, *at), ret);

    *at += result == STRICT_OK ? ret->len + 2 : 0;
    return result;
}

static struct str cut_blank(struct str *rest)
{
    const char *blank = rest->len > 0 ? memchr(rest->ptr, ' ', rest->len) : NULL;
    size_t len = blank ? (size_t)(blank - rest->ptr) : rest->len;
    struct str word = str_make(rest->ptr, len);

    *rest = blank ? str_make(blank + 1, rest->len - len - 1) : str_make(NULL, 0);
    return word;
}

static bool is_version(struct str s)
{
    return s.len == 8 && memcmp(s.ptr, "HTTP/1.", 7) == 0 && (s.ptr[7] == '0' || s.ptr[7] == '1');
}

static bool read_start(struct str line, bool is_request, struct strict_head *ret)
{
    struct str rest = line;

    ret->start[0] = cut_blank(&rest);
    ret->start[1] = cut_blank(&rest);
    ret->start[2] = rest;
    if (has_control(line)) {
        return false;
    }
    if (is_request) {
        return strict_is_token(ret->start[0]) && ret->start[1].len > 0 &&
               !memchr(ret->start[1].ptr, '\t', ret->start[1].len) && is_version(ret->start[2]);
    }
    if (!is_version(ret->start[0]) || ret->start[1].len != 3 || ret->start[1].ptr[0] == '0') {
        return false;
    }
    for (size_t i = 0; i < 3; i++) {
        if (ret->start[1].ptr[i] < '0' || ret->start[1].ptr[i] > '9') {
            return false;
        }
    }
    return true;
}

static bool read_field(struct str line, bool blank_before_colon, struct strict_field *ret)
{
    const char *colon = line.len > 0 ? memchr(line.ptr, ':', line.len) : NULL;
    struct str name;
    struct str value;

    if (!colon) {
        return false;
    }
    name = str_make(line.ptr, (size_t)(colon - line.ptr));
    value = str_make(colon + 1, line.len - name.len - 1);
    while (blank_before_colon && name.len > 0 && is_blank(name.ptr[name.len - 1])) {
        name.len--;
    }
    while (value.len > 0 && is_blank(value.ptr[0])) {
        value = str_make(value.ptr + 1, value.len - 1);
    }
    while (value.len > 0 && is_blank(value.ptr[value.len - 1])) {
        value.len--;
    }
    *ret = (struct strict_field){name, value};
    return strict_is_token(name) && strict_is_value(value);
}

enum strict_result strict_read_head(struct str in, bool is_request, bool blank_before_colon,
                                    struct strict_head *ret)
{
    ret->field_count = 0;
    ret->len = 0;
    for (bool first = true;; first = false) {
        struct str line;
        enum strict_result result = next_line(in, &ret->len, &line);

        if (result != STRICT_OK) {
            return result;
        }
        if (first) {
            if (!read_start(line, is_request, ret)) {
                return STRICT_BAD;
            }
        } else if (line.len == 0) {
            return STRICT_OK;
        } else if (ret->field_count == STRICT_FIELDS_MAX ||
                   !read_field(line, blank_before_colon, &ret->fields[ret->field_count++])) {
            return STRICT_BAD;
        }
    }
}

size_t strict_count(const struct strict_head *head, const char *name, struct str *ret)
{
    size_t count = 0;

    for (size_t i = 0; i < head->field_count; i++) {
        const struct strict_field *field = &head->fields[i];

        if (field->name.len == strlen(name) &&
            strncasecmp(field->name.ptr, name, field->name.len) == 0) {
            count++;
            *ret = field->value;
        }
    }
    return count;
}

/* No control character but HTAB; DEL may stand in what is dropped unread. */
static bool is_extension(struct str s)
{
    for (size_t i = 0; i < s.len; i++) {
        if ((unsigned char)s.ptr[i] < ' ' && s.ptr[i] != '\t') {
            return false;
        }
    }
    return s.len == 0 || s.ptr[0] == ';';
}

/* SIZE [;anything] */
static bool read_size(struct str line, size_t *ret, struct strict_chunks *chunks)
{
    size_t digits = 0;

    *ret = 0;
    while (digits < line.len && line.ptr[digits] != '\0' &&
           strchr("0123456789abcdefABCDEF", line.ptr[digits])) {
        char c = line.ptr[digits++];

        if (*ret >> 60) {
            return false;
        }
        *ret = *ret * 16 + (size_t)(c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
    }
    chunks->is_plain = chunks->is_plain && digits == line.len && digits <= 16;
    return digits > 0 && is_extension(str_from(line, digits));
}

static enum strict_result read_trailers(struct str in, struct strict_chunks *ret)
{
    for (;;) {
        struct strict_field field;
        struct str line;
        enum strict_result result = next_line(in, &ret->len, &line);

        if (result != STRICT_OK) {
            return result;
        }
        if (line.len == 0) {
            return STRICT_OK;
        }
        ret->is_plain = false;
        ret->trailers++;
        if (!read_field(line, true, &field)) {
            return STRICT_BAD;
        }
    }
}

enum strict_result strict_read_chunks(struct str in, struct fuzz_bytes *body,
                                      struct strict_chunks *ret)
{
    *ret = (struct strict_chunks){.is_plain = true};
    for (;;) {
        struct str rest;
        struct str line;
        size_t size;
        enum strict_result result = next_line(in, &ret->len, &line);

        if (result != STRICT_OK) {
            return result;
        }
        if (!read_size(line, &size, ret)) {
            return STRICT_BAD;
        }
        if (size == 0) {
            return read_trailers(in, ret);
        }
        rest = str_from(in, ret->len);
        if (rest.len < size || rest.len - size < 2) {
            size = rest.len < size ? rest.len : size;
            fuzz_bytes_put(body, str_make(rest.ptr, size));
            return rest.len == size + 1 && rest.ptr[size] != '\r' ? STRICT_BAD : STRICT_MORE;
        }
        fuzz_bytes_put(body, str_make(rest.ptr, size));
        if (memcmp(rest.ptr + size, "\r\n", 2) != 0) {
            return STRICT_BAD;
        }
        ret->len += size + 2;
    }
}
