// SPDX-License-Identifier: MIT
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "conf/conf_parse.h"

/* What the parser said, one line per event: "1 [name]", "2 key=value", "3 ! fault". */
static char log_buf[4 * CONF_LINE_MAX];
static struct text log_text;

static void on_section(void *arg, struct str name, unsigned line)
{
    (void)arg;
    text_printf(&log_text, "%u [%.*s]\n", line, STR_ARG(name));
}

static void on_pair(void *arg, struct str key, struct str value, unsigned line)
{
    (void)arg;
    text_printf(&log_text, "%u %.*s=%.*s\n", line, STR_ARG(key), STR_ARG(value));
}

static void on_error(void *arg, const char *text, unsigned line)
{
    (void)arg;
    text_printf(&log_text, "%u ! %s\n", line, text);
}

static const char *parse(struct str text)
{
    static const struct conf_parse_events events = {on_section, on_pair, on_error};

    log_text = TEXT_OVER(log_buf);
    cr_assert_eq(conf_parse(text, &events, NULL), 0);
    cr_assert(!log_text.full);
    return text_cstr(&log_text);
}

#define EXPECT(ini, log) cr_assert_str_eq(parse(STR(ini)), log)

/* count times c, NUL-terminated; freed by the caller. */
static char *repeated(char c, size_t count)
{
    char *text = malloc(count + 1);

    cr_assert_not_null(text);
    memset(text, c, count);
    text[count] = '\0';
    return text;
}

Test(conf_parse, reads_sections_and_pairs_with_their_lines)
{
    EXPECT("\n[a]\nk = v\n\n[b]\nx=y\n", "2 [a]\n3 k=v\n5 [b]\n6 x=y\n");
}

Test(conf_parse, tells_of_a_section_without_keys)
{
    EXPECT("[a]\n[b]\n", "1 [a]\n2 [b]\n");
}

Test(conf_parse, reads_a_last_line_without_its_end)
{
    EXPECT("[a]\nk=v", "1 [a]\n2 k=v\n");
    EXPECT("[a]", "1 [a]\n");
}

Test(conf_parse, accepts_crlf)
{
    EXPECT("[a]\r\nk = v\r\n\r\n", "1 [a]\n2 k=v\n");
}

Test(conf_parse, skips_a_byte_order_mark)
{
    EXPECT("\xef\xbb\xbf[a]\nk=v\n", "1 [a]\n2 k=v\n");
}

Test(conf_parse, ignores_blanks_around_everything)
{
    EXPECT(" \t[ a ]\t\n  k \t=\t v w \t\n", "1 [a]\n2 k=v w\n");
    EXPECT("[ listen \t  lan ]\n", "1 [listen lan]\n");
}

Test(conf_parse, does_not_continue_a_line_that_is_indented)
{
    EXPECT("[a]\nk = v\n  l = w\n   more\n",
           "1 [a]\n2 k=v\n3 l=w\n4 ! neither [section] nor key = value\n");
}

Test(conf_parse, takes_comments_at_the_front_and_after_a_blank)
{
    EXPECT("; one\n# two\n  ; three\n[a] ; four\nk = v ; five\nl = v\t;six\nm = ;seven\n",
           "4 [a]\n5 k=v\n6 l=v\n7 m=\n");
}

Test(conf_parse, leaves_semicolon_and_hash_inside_a_value)
{
    EXPECT("[a]\nk = a;b#c #d\nl =;e\n", "1 [a]\n2 k=a;b#c #d\n3 l=;e\n");
}

Test(conf_parse, leaves_colons_and_equal_signs_inside_a_value)
{
    EXPECT("[a]\nk = [::1]:80=x\n", "1 [a]\n2 k=[::1]:80=x\n");
}

Test(conf_parse, does_not_take_a_colon_for_an_equal_sign)
{
    EXPECT("[a]\nk: v\n", "1 [a]\n2 ! neither [section] nor key = value\n");
    EXPECT("[a]\nk:l = v\n", "1 [a]\n2 ! a name is made of letters, digits, '-', '_' and '.'\n");
}

Test(conf_parse, refuses_a_pair_without_a_key)
{
    EXPECT("[a]\n= v\n", "1 [a]\n2 ! a name is missing\n");
}

Test(conf_parse, refuses_a_broken_header_and_leaves_out_its_pairs)
{
    EXPECT("[a]\nk=1\n[b\nk=2\n[c]\nk=3\n",
           "1 [a]\n2 k=1\n3 ! a section's line ends with ']'\n5 [c]\n6 k=3\n");
    EXPECT("[b] x\nk=2\n", "1 ! a section's line ends with ']'\n");
    EXPECT("[]\nk=2\n", "1 ! a name is missing\n");
    EXPECT("[a b c]\n", "1 ! the name has too many words\n");
    EXPECT("[a/b]\n", "1 ! a name is made of letters, digits, '-', '_' and '.'\n");
    EXPECT("[\n", "1 ! a section's line ends with ']'\n");
    EXPECT("[a  \t b]\n", "1 [a b]\n");
    EXPECT("[xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx]\n",
           "1 ! the name is longer than 49 bytes\n");
}

Test(conf_parse, reads_pairs_before_any_section)
{
    EXPECT("include = x\n[a]\n", "1 include=x\n2 [a]\n");
}

Test(conf_parse, refuses_nul_and_control_characters)
{
    EXPECT("[a]\nk = v\0w\nl=1\n", "1 [a]\n2 ! the line holds a NUL byte\n3 l=1\n");
    EXPECT("; v\0w\n", "1 ! the line holds a NUL byte\n");
    EXPECT("[a]\nk = v\033[0m\n", "1 [a]\n2 ! the line holds a control character\n");
    EXPECT("[a]\rk = v\n", "1 ! the line holds a control character\n");
}

Test(conf_parse, reads_a_value_up_to_the_longest_line)
{
    char *value = repeated('v', CONF_LINE_MAX - 2);
    char *ini = malloc(2 * CONF_LINE_MAX);
    char *want = malloc(2 * CONF_LINE_MAX);

    (void)sprintf(ini, "k=%s\r\nl=1\n", value);
    (void)sprintf(want, "1 k=%s\n2 l=1\n", value);
    cr_assert_str_eq(parse(str_of(ini)), want);
    (void)sprintf(ini, "k=%sv\nl=1\n", value);
    cr_assert_str_eq(parse(str_of(ini)), "1 ! the line is longer than 64K\n2 l=1\n");
    free(want);
    free(ini);
    free(value);
}

/* Between 190 and 210 bytes lies the line buffer of the library. */
Test(conf_parse, reads_values_of_every_length_around_the_librarys_limit)
{
    for (size_t len = 180; len < 220; len++) {
        char *value = repeated('v', len);
        char ini[256];
        char want[256];

        (void)sprintf(ini, "[a]\nk = %s\n", value);
        (void)sprintf(want, "1 [a]\n2 k=%s\n", value);
        cr_assert_str_eq(parse(str_of(ini)), want);
        free(value);
    }
}

Test(conf_parse, reads_names_of_49_bytes_and_refuses_longer_ones)
{
    char *name = repeated('n', CONF_NAME_MAX);
    char ini[256];
    char want[256];

    (void)sprintf(ini, "[%s]\n%s = 1\n", name, name);
    (void)sprintf(want, "1 [%s]\n2 %s=1\n", name, name);
    cr_assert_str_eq(parse(str_of(ini)), want);
    (void)sprintf(ini, "[a]\n%sn = 1\n[%sn]\nk = 1\n", name, name);
    cr_assert_str_eq(parse(str_of(ini)), "1 [a]\n2 ! the name is longer than 49 bytes\n"
                                         "3 ! the name is longer than 49 bytes\n");
    free(name);
}

Test(conf_parse, tells_all_errors_of_a_text)
{
    EXPECT("x\n[a]\ny\nk=1\nz\n", "1 ! neither [section] nor key = value\n2 [a]\n"
                                  "3 ! neither [section] nor key = value\n4 k=1\n"
                                  "5 ! neither [section] nor key = value\n");
}
