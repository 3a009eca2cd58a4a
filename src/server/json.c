// SPDX-License-Identifier: MIT
#include "server/json.h"

#include "base/text.h"
#include "log/escape.h"

#define PIECE_BYTES 256 /* of a string, escaped at once */
#define ESCAPED_MAX 6   /* bytes of one byte's escape */

static bool continues_character(char c)
{
    return ((unsigned char)c & 0xc0) == 0x80;
}

/* As much of s as goes into one piece; no character is cut. */
static size_t piece_len(struct str s)
{
    size_t len = MIN(s.len, PIECE_BYTES);
    size_t least = len > 3 ? len - 3 : 1; /* behind it no UTF-8 character begins and does not end */

    while (len < s.len && len > least && continues_character(s.ptr[len])) {
        len--;
    }
    return len;
}

void json_put_string(FILE *out, struct str s)
{
    (void)fputc('"', out);
    while (s.len > 0) {
        char buf[PIECE_BYTES * ESCAPED_MAX];
        struct text text = TEXT_OVER(buf);
        size_t len = piece_len(s);

        escape_put(&text, str_head(s, len), ESCAPE_QUOTED, ESCAPE_NO_MAX);
        (void)fwrite(text.ptr, 1, text.len, out);
        s = str_from(s, len);
    }
    (void)fputc('"', out);
}

void json_put_member(FILE *out, const char *separator, const char *name, struct str value)
{
    (void)fprintf(out, "%s\"%s\":", separator, name);
    if (value.len > 0) {
        json_put_string(out, value);
    } else {
        (void)fputs("null", out);
    }
}

void json_put_number(FILE *out, const char *separator, const char *name, uint64_t value)
{
    (void)fprintf(out, "%s\"%s\":%llu", separator, name, (unsigned long long)value);
}

void json_put_bool(FILE *out, const char *separator, const char *name, bool value)
{
    (void)fprintf(out, "%s\"%s\":%s", separator, name, value ? "true" : "false");
}
