// SPDX-License-Identifier: MIT
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "base/attr.h"
#include "log/escape.h"
#include "log/record.h"

struct escape_case {
    struct str in;
    const char *out;
};

static char space[256 * 1024];

static void check(struct str in, enum escape_style style, size_t max_bytes, const char *want)
{
    struct text out = TEXT_OVER(space);

    escape_put(&out, in, style, max_bytes);
    cr_assert_str_eq(text_cstr(&out), want);
}

static void check_table(const struct escape_case *cases, size_t count, enum escape_style style)
{
    for (size_t i = 0; i < count; i++) {
        check(cases[i].in, style, ESCAPE_NO_MAX, cases[i].out);
    }
}

static void check_logfmt(struct str in, const char *want)
{
    struct text out = TEXT_OVER(space);

    log_escape_logfmt(&out, in);
    cr_assert_str_eq(text_cstr(&out), want);
}

static const struct escape_case quoted[] = {
    {STR(""), ""},
    {STR("plain text"), "plain text"},
    {STR("a\"b\\c"), "a\\\"b\\\\c"},
    {STR("a\r\nlevel=error\t"), "a\\r\\nlevel=error\\t"},
    {STR("\0\1\b\v\f\x1f"), "\\u0000\\u0001\\u0008\\u000b\\u000c\\u001f"},
    {STR("\x7f"), "\\u007f"},
    {STR("\x1b[31mred\x1b]0;title\x07"), "\\u001b[31mred\\u001b]0;title\\u0007"},
    /* Valid UTF-8 that can be seen stays. */
    {STR("caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80"), "caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80"},
    {STR("\xf4\x8f\xbf\xbd"), "\xf4\x8f\xbf\xbd"},
    /* C1: U+0080, CSI U+009B, NEL U+0085. */
    {STR("\xc2\x80\xc2\x9b\xc2\x85"), "\\u0080\\u009b\\u0085"},
    {STR("\xc2\xa0"), "\xc2\xa0"},
    /* Line and paragraph separator. */
    {STR("\xe2\x80\xa8\xe2\x80\xa9"), "\\u2028\\u2029"},
    /* Bidi controls, zero width, BOM, tags. */
    {STR("\xe2\x80\xaa\xe2\x80\xae\xe2\x81\xa6\xe2\x81\xa9"), "\\u202a\\u202e\\u2066\\u2069"},
    {STR("\xe2\x80\x8b\xe2\x80\x8f\xd8\x9c\xef\xbb\xbf"), "\\u200b\\u200f\\u061c\\ufeff"},
    {STR("\xf3\xa0\x81\x81"), "\\udb40\\udc41"},
    /* No UTF-8: a lone byte, a cut sequence, overlong forms, a surrogate, beyond U+10FFFF. */
    {STR("\xff\x80"), "\\u00ff\\u0080"},
    {STR("\xe9t\xe9"), "\\u00e9t\\u00e9"},
    {STR("\xe2\x82"), "\\u00e2\\u0082"},
    {STR("\xf0\x9f\x98"), "\\u00f0\\u009f\\u0098"},
    {STR("\xe2\"\n"), "\\u00e2\\\"\\n"},
    {STR("\xc0\xaf\xc1\xbf"), "\\u00c0\\u00af\\u00c1\\u00bf"},
    {STR("\xe0\x80\x8a"), "\\u00e0\\u0080\\u008a"},
    {STR("\xf0\x80\x80\x8a"), "\\u00f0\\u0080\\u0080\\u008a"},
    {STR("\xed\xa0\x80"), "\\u00ed\\u00a0\\u0080"},
    {STR("\xf4\x90\x80\x80"), "\\u00f4\\u0090\\u0080\\u0080"},
    {STR("\xf5\x80\x80\x80"), "\\u00f5\\u0080\\u0080\\u0080"},
};

Test(escape, quoted_text_holds_no_control_and_no_bad_utf8)
{
    check_table(quoted, ARRAY_LEN(quoted), ESCAPE_QUOTED);
}

static const struct escape_case plain[] = {
    {STR("cannot read \"a\\b\""), "cannot read \"a\\b\""},
    {STR("two\nlines\x1b[0m\xe2\x80\xae"), "two\\nlines\\u001b[0m\\u202e"},
};

Test(escape, plain_text_keeps_quotes)
{
    check_table(plain, ARRAY_LEN(plain), ESCAPE_PLAIN);
}

static const struct escape_case apache[] = {
    {STR("Mozilla/5.0 (X11; [en])"), "Mozilla/5.0 (X11; [en])"},
    {STR("\"\\"), "\\\"\\\\"},
    {STR("\n\r\t\b\v"), "\\n\\r\\t\\b\\v"},
    {STR("\f\0\x1b\x7f"), "\\x0c\\x00\\x1b\\x7f"},
    {STR("caf\xc3\xa9"), "caf\\xc3\\xa9"},
};

Test(escape, apache_style_is_ascii)
{
    check_table(apache, ARRAY_LEN(apache), ESCAPE_APACHE);
}

Test(escape, apache_word_has_no_blank_and_no_bracket)
{
    check(STR("a [b] \"c"), ESCAPE_APACHE_WORD, ESCAPE_NO_MAX, "a\\x20\\x5bb]\\x20\\\"c");
}

static const struct escape_case percent[] = {
    {STR("http://h/?a=b&c=%20[]{}"), "http://h/?a=b&c=%20[]{}"},
    {STR("a b\tc\r\nd"), "a%20b%09c%0D%0Ad"},
    {STR("\"\\\x7f\xc3\xa9"), "%22%5C%7F%C3%A9"},
};

Test(escape, percent_style_is_one_word)
{
    check_table(percent, ARRAY_LEN(percent), ESCAPE_PERCENT);
}

Test(escape, every_byte_stays_in_its_token)
{
    for (int style = ESCAPE_QUOTED; style <= ESCAPE_PERCENT; style++) {
        for (int c = 0; c < 256; c++) {
            char in[] = {'a', (char)c, 'b'};
            struct text out = TEXT_OVER(space);
            struct str got;

            escape_put(&out, str_make(in, sizeof(in)), (enum escape_style)style, ESCAPE_NO_MAX);
            got = text_str(&out);
            for (size_t i = 0; i < got.len; i++) {
                cr_assert(got.ptr[i] >= 0x20 && got.ptr[i] <= 0x7e, "style %d, byte %d", style, c);
                if (got.ptr[i] == '"' && style != ESCAPE_PLAIN) {
                    cr_assert_eq(got.ptr[i - 1], '\\', "style %d", style);
                }
            }
        }
    }
}

Test(escape, logfmt_quotes_only_where_needed)
{
    check_logfmt(STR("GET"), "GET");
    check_logfmt(STR("http://example.com/a?b&[c];%20"), "http://example.com/a?b&[c];%20");
    check_logfmt(STR(""), "\"\"");
    check_logfmt(STR("-"), "\"-\"");
    check_logfmt(STR("--"), "--");
    check_logfmt(STR("a=b"), "\"a=b\"");
    check_logfmt(STR("a b"), "\"a b\"");
    check_logfmt(STR("a\"b"), "\"a\\\"b\"");
    check_logfmt(STR("a\\b"), "\"a\\\\b\"");
    check_logfmt(STR("a\nb"), "\"a\\nb\"");
    check_logfmt(STR("a\x7f"), "\"a\\u007f\"");
    check_logfmt(STR("caf\xc3\xa9"), "\"caf\xc3\xa9\"");
}

Test(escape, json_is_always_quoted)
{
    struct text out = TEXT_OVER(space);

    log_escape_json(&out, STR("a\"\xff"));
    log_escape_json(&out, STR(""));
    cr_assert_str_eq(text_cstr(&out), "\"a\\\"\\u00ff\"\"\"");
}

Test(escape, what_just_fits_is_not_cut)
{
    check(STR("abcdefgh"), ESCAPE_QUOTED, 8, "abcdefgh");
    check(STR("abcdefghi"), ESCAPE_QUOTED, 8, "abcde...");
    check(STR("a\nb\nc\n"), ESCAPE_QUOTED, 9, "a\\nb\\nc\\n");
    check(STR("a\nb\nc\nd"), ESCAPE_QUOTED, 9, "a\\nb\\n...");
}

Test(escape, nothing_is_cut_inside_a_character)
{
    /* Eight bytes of room before the dots, and units of 6, 3, 4 and 12 bytes. */
    check(STR("abc\x1b\x1b\x1b"), ESCAPE_QUOTED, 11, "abc...");
    check(STR("ab\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac"), ESCAPE_QUOTED, 10, "ab\xe2\x82\xac...");
    check(STR("abcdef\xff\xff"), ESCAPE_APACHE, 11, "abcdef...");
    check(STR("abc\xf3\xa0\x81\x81zzz"), ESCAPE_QUOTED, 15, "abc...");
    check(STR("ab   "), ESCAPE_PERCENT, 10, "ab%20...");
}

Test(escape, reports_lack_of_room)
{
    char small[4];
    struct text out = TEXT_OVER(small);

    escape_put_json(&out, STR("abcd"), ESCAPE_NO_MAX);
    cr_assert(out.full);
}

Test(escape, blank_leaves_what_a_terminal_shows)
{
    static const struct {
        const char *text, *blanked;
    } cases[] = {
        {"", ""},
        {"plain \"text\" \\ ~", "plain \"text\" \\ ~"},
        {"\t\x1b[31mred\x7f\n", "??[31mred??"},
        {"gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x98\x80",
         "gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x98\x80"},
        {"\xc2\xa0\xc2\x9f\xc2\x80", "\xc2\xa0??"}, /* C1, and the character behind them */
        {"a\x9b"
         "b\x80\xff",
         "a?b??"}, /* no UTF-8: C1 where a terminal reads bytes */
        {"\xe2\x80\x8b|\xe2\x80\x8f|\xe2\x80\x90", "?|?|\xe2\x80\x90"}, /* U+200B to U+200F */
        {"\xe2\x80\xaa|\xe2\x80\xae|\xe2\x80\xaf", "?|?|\xe2\x80\xaf"}, /* U+202A to U+202E */
        {"\xe2\x81\xa5|\xe2\x81\xa6|\xe2\x81\xa9", "?|?|?"},            /* U+2066 to U+2069 */
        {"\xef\xbb\xbfx", "?x"},                                        /* U+FEFF */
        {"cut \xe2\x82", "cut ??"},
        {"\xc0\x80\xed\xa0\x80", "?????"}, /* overlong, surrogate */
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char text[64];

        (void)snprintf(text, sizeof(text), "%s", cases[i].text);
        escape_blank(text);
        cr_expect_str_eq(text, cases[i].blanked, "case %zu: %s", i, text);
    }
}
