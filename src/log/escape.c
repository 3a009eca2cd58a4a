// SPDX-License-Identifier: MIT
#include "log/escape.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/attr.h"

/* What an ASCII character may be without an escape: bit per style, and one for an unquoted logfmt
 * value. No byte above 0x7e has a bit. */
enum {
    AS_QUOTED = 1U << ESCAPE_QUOTED,
    AS_PLAIN = 1U << ESCAPE_PLAIN,
    AS_APACHE = 1U << ESCAPE_APACHE,
    AS_APACHE_WORD = 1U << ESCAPE_APACHE_WORD,
    AS_PERCENT = 1U << ESCAPE_PERCENT,
    AS_BARE = 1U << 5,
    AS_ALL = (1U << 6) - 1,
};

static const uint8_t plain_table[256] = {
    [' '] = AS_QUOTED | AS_PLAIN | AS_APACHE,
    ['!'] = AS_ALL,
    ['"'] = AS_PLAIN,
    ['#' ... '<'] = AS_ALL,
    ['='] = AS_ALL & ~AS_BARE,
    ['>' ... 'Z'] = AS_ALL,
    ['['] = AS_ALL & ~AS_APACHE_WORD,
    ['\\'] = AS_PLAIN,
    [']' ... '~'] = AS_ALL,
};

/* Characters that a terminal or an editor does not show as themselves: controls (C1 too), soft
 * hyphen, zero-width and direction marks, line and paragraph separator, tags and further
 * ignorables. */
static const struct {
    uint32_t first, last;
} hidden_ranges[] = {
    {0x80, 0x9f},     {0xad, 0xad},       {0x34f, 0x34f},     {0x61c, 0x61c},   {0x115f, 0x1160},
    {0x17b4, 0x17b5}, {0x180b, 0x180f},   {0x200b, 0x200f},   {0x2028, 0x202e}, {0x2060, 0x206f},
    {0x3164, 0x3164}, {0xfe00, 0xfe0f},   {0xfeff, 0xfeff},   {0xffa0, 0xffa0}, {0xfff0, 0xfffb},
    {0xfffe, 0xffff}, {0x1d173, 0x1d17a}, {0xe0000, 0xe0fff},
};

static bool is_hidden(uint32_t code)
{
    for (size_t i = 0; i < ARRAY_LEN(hidden_ranges); i++) {
        if (code <= hidden_ranges[i].last) {
            return code >= hidden_ranges[i].first;
        }
    }
    return false;
}

/* Length of the well-formed sequence of two or more bytes at the front of s and its code point, or
 * 0 (RFC 3629: no overlong form, no surrogate, nothing above U+10FFFF). */
static size_t read_utf8(struct str s, uint32_t *ret_code)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    uint8_t lead = (uint8_t)s.ptr[0];
    size_t len = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
    uint32_t code = lead & (0x7fU >> len);

    if (lead < 0xc2 || lead > 0xf4 || s.len < len) {
        return 0;
    }
    for (size_t i = 1; i < len; i++) {
        uint8_t next = (uint8_t)s.ptr[i];

        if ((next & 0xc0) != 0x80) {
            return 0;
        }
        code = code << 6 | (next & 0x3f);
    }
    if (code < least[len] || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff)) {
        return 0;
    }
    *ret_code = code;
    return len;
}

/* The letter behind the backslash, or 0 when the style has none for c. */
static char short_escape(char c, bool apache)
{
    switch (c) {
    case '"':
    case '\\':
        return c;
    case '\n':
        return 'n';
    case '\r':
        return 'r';
    case '\t':
        return 't';
    case '\b':
        return apache ? 'b' : 0;
    case '\v':
        return apache ? 'v' : 0;
    default:
        return 0;
    }
}

static void put_u(struct text *out, uint32_t unit)
{
    text_put(out, STR("\\u"));
    text_hex(out, unit, 4);
}

/* What stands for the character at the front of s (which is not plain) in out; returns how many
 * bytes of s that took. */
static size_t put_unicode_unit(struct text *out, struct str s)
{
    uint32_t code = (uint8_t)s.ptr[0];
    char letter = short_escape(s.ptr[0], false);
    size_t len = 0;

    if (letter != 0) {
        text_char(out, '\\');
        text_char(out, letter);
        return 1;
    }
    if (code >= 0x80) {
        len = read_utf8(s, &code);
        if (len > 0 && !is_hidden(code)) {
            text_put(out, str_head(s, len));
            return len;
        }
    }
    if (code > 0xffff) {
        put_u(out, 0xd800 + ((code - 0x10000) >> 10));
        put_u(out, 0xdc00 + ((code - 0x10000) & 0x3ff));
    } else {
        put_u(out, code);
    }
    return len > 0 ? len : 1;
}

static size_t put_apache_unit(struct text *out, char c)
{
    char letter = short_escape(c, true);

    text_char(out, '\\');
    if (letter != 0) {
        text_char(out, letter);
    } else {
        text_char(out, 'x');
        text_hex(out, (uint8_t)c, 2);
    }
    return 1;
}

static size_t put_percent_unit(struct text *out, char c)
{
    static const char digits[] = "0123456789ABCDEF";

    text_char(out, '%');
    text_char(out, digits[(uint8_t)c >> 4]);
    text_char(out, digits[(uint8_t)c & 15]);
    return 1;
}

static size_t put_unit(struct text *out, struct str s, enum escape_style style)
{
    switch (style) {
    case ESCAPE_APACHE:
    case ESCAPE_APACHE_WORD:
        return put_apache_unit(out, s.ptr[0]);
    case ESCAPE_PERCENT:
        return put_percent_unit(out, s.ptr[0]);
    case ESCAPE_QUOTED:
    case ESCAPE_PLAIN:
        break;
    }
    return put_unicode_unit(out, s);
}

static size_t plain_run(struct str s, unsigned mask)
{
    size_t at = 0;

    while (at < s.len && (plain_table[(uint8_t)s.ptr[at]] & mask)) {
        at++;
    }
    return at;
}

/* Puts characters of s, each whole, until they are all out or the next would take more than
 * max_bytes. Returns the bytes of s that are left; *ret_taken is what stands in out for the others.
 */
static struct str put_within(struct text *out, struct str s, enum escape_style style,
                             size_t max_bytes, size_t *ret_taken)
{
    size_t taken = 0;

    while (s.len > 0) {
        size_t run = plain_run(s, 1U << style);

        if (run == 0) {
            char bytes[16];
            struct text unit = TEXT_OVER(bytes);
            size_t used = put_unit(&unit, s, style);

            if (unit.len > max_bytes - taken) {
                break;
            }
            text_put(out, text_str(&unit));
            taken += unit.len;
            s = str_from(s, used);
            continue;
        }
        if (run > max_bytes - taken) {
            run = max_bytes - taken;
            text_put(out, str_head(s, run));
            taken = max_bytes;
            s = str_from(s, run);
            break;
        }
        text_put(out, str_head(s, run));
        taken += run;
        s = str_from(s, run);
    }
    *ret_taken = taken;
    return s;
}

void escape_put(struct text *out, struct str s, enum escape_style style, size_t max_bytes)
{
    struct text before = *out;
    size_t taken;

    /* Most values are short: only one that proves too long is written again, with room for the
     * dots. */
    if (put_within(out, s, style, max_bytes, &taken).len > 0) {
        *out = before;
        (void)put_within(out, s, style, max_bytes - 3, &taken);
        text_put(out, STR("..."));
    }
}

static bool is_bare(struct str s)
{
    return s.len > 0 && plain_run(s, AS_BARE) == s.len && !(s.len == 1 && s.ptr[0] == '-');
}

void escape_put_logfmt(struct text *out, struct str s, size_t max_bytes)
{
    if (!is_bare(s)) {
        escape_put_json(out, s, max_bytes);
    } else if (s.len <= max_bytes) {
        text_put(out, s); /* nearly every value: it was looked at once and is copied */
    } else {
        escape_put(out, s, ESCAPE_QUOTED, max_bytes);
    }
}

void escape_put_json(struct text *out, struct str s, size_t max_bytes)
{
    text_char(out, '"');
    escape_put(out, s, ESCAPE_QUOTED, max_bytes);
    text_char(out, '"');
}

void escape_blank(char *text)
{
    struct str s = str_of(text);

    while (s.len > 0) {
        uint32_t code = (uint8_t)*s.ptr;
        size_t len = code < 0x80 ? 1 : read_utf8(s, &code);
        bool is_shown = code < 0x80 ? code >= ' ' && code != 0x7f : len > 0 && !is_hidden(code);

        if (is_shown) {
            memmove(text, s.ptr, len);
            text += len;
        } else {
            *text++ = '?';
        }
        s = str_from(s, MAX(len, 1));
    }
    *text = '\0';
}
