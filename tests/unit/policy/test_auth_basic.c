// SPDX-License-Identifier: MIT
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policy/auth_basic.h"

static struct auth_credentials got;

static int parse(const char *field)
{
    return auth_basic_parse(str_of(field), &got);
}

/* RFC 4648 4. */
static void encode(const char *bytes, size_t len, char *dst)
{
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

    for (size_t at = 0; at < len; at += 3) {
        unsigned bits = 0;

        for (size_t i = 0; i < 3; i++) {
            bits = bits << 8 | (at + i < len ? (unsigned char)bytes[at + i] : 0);
        }
        for (size_t i = 0; i < 4; i++) {
            *dst++ = at + i > len ? '=' : alphabet[bits >> (18 - 6 * i) & 63];
        }
    }
    *dst = '\0';
}

static int parse_pair(const char *pair, size_t len)
{
    char field[4096] = "Basic ";

    encode(pair, len, field + 6);
    return parse(field);
}

static void expect(const char *user, const char *password)
{
    cr_expect(str_eq(got.user, str_of(user)), "%.*s", STR_ARG(got.user));
    cr_expect(str_eq(got.password, str_of(password)), "%.*s", STR_ARG(got.password));
    cr_expect_eq(got.password.ptr[got.password.len], '\0');
}

/* RFC 7617 2 and 2.1. */
Test(auth_basic, reads_the_examples_of_the_rfc)
{
    cr_assert_eq(parse("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="), 0);
    expect("Aladdin", "open sesame");
    cr_assert_eq(parse("Basic dGVzdDoxMjPCow=="), 0);
    expect("test", "123\xc2\xa3");
}

Test(auth_basic, scheme_is_read_without_case_and_other_blanks_do_not_count)
{
    cr_expect_eq(parse("basic YTpi"), 0);
    cr_expect_eq(parse("BASIC   YTpi  "), 0);
    expect("a", "b");
    cr_expect_eq(parse(""), AUTH_BASIC_OTHER);
    cr_expect_eq(parse("Basic"), AUTH_BASIC_OTHER);
    cr_expect_eq(parse("Basically YTpi"), AUTH_BASIC_OTHER);
    cr_expect_eq(parse("Bearer YTpi"), AUTH_BASIC_OTHER);
    cr_expect_eq(parse("YTpi"), AUTH_BASIC_OTHER);
}

Test(auth_basic, first_colon_parts_name_and_password)
{
    cr_assert_eq(parse_pair("a:b:c:", 6), 0);
    expect("a", "b:c:");
    cr_assert_eq(parse_pair("a:", 2), 0);
    expect("a", "");
    cr_expect_eq(parse_pair(":b", 2), AUTH_BASIC_MALFORMED);
    cr_expect_eq(parse_pair("ab", 2), AUTH_BASIC_MALFORMED);
}

Test(auth_basic, takes_any_bytes_but_control_characters)
{
    for (unsigned c = 0; c < 256; c++) {
        char in_name[] = {'a', (char)c, ':', 'b'};
        char in_password[] = {'a', ':', (char)c, 'b'};
        int expected = c < ' ' || c == 0x7f ? AUTH_BASIC_MALFORMED : 0;

        cr_expect_eq(parse_pair(in_name, 4), expected, "%u", c);
        cr_expect_eq(parse_pair(in_password, 4), expected, "%u", c);
    }
}

Test(auth_basic, refuses_what_no_encoder_writes)
{
    static const char *const broken[] = {
        "Basic ",
        "Basic YTp",
        "Basic YTo",
        "Basic YTo==",
        "Basic YTo=YTpi",
        "Basic YTpi=",
        "Basic YTpi====",
        "Basic YT p",
        "Basic YTpi YTpi",
        "Basic YTp-",
        "Basic YTp_",
        "Basic =YTp",
        "Basic Y===",
        "Basic ====",
        "Basic YTpi\xc3\xa4xx",
        "Basic \"YTpi\"",
        "Basic YTpi,Basic YTpi",
        "Basic *TpiYTpi",
    };

    for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++) {
        cr_expect_eq(parse(broken[i]), AUTH_BASIC_MALFORMED, "%s", broken[i]);
    }
}

/* Bits that no byte is made of let one pair be written in several ways. */
Test(auth_basic, refuses_bits_that_stand_for_nothing)
{
    cr_expect_eq(parse("Basic YTo="), 0);
    cr_expect_eq(parse("Basic YTp="), AUTH_BASIC_MALFORMED);
    cr_expect_eq(parse("Basic YTpiYg=="), 0);
    cr_expect_eq(parse("Basic YTpiYh=="), AUTH_BASIC_MALFORMED);
}

Test(auth_basic, bounds_name_and_password)
{
    char pair[1200];

    memset(pair, 'x', sizeof(pair));
    pair[AUTH_USER_MAX] = ':';
    cr_expect_eq(parse_pair(pair, AUTH_USER_MAX + 1 + AUTH_PASSWORD_MAX), 0);
    cr_expect_eq(got.user.len, AUTH_USER_MAX);
    cr_expect_eq(got.password.len, AUTH_PASSWORD_MAX);
    cr_expect_eq(got.password.ptr[AUTH_PASSWORD_MAX], '\0');
    for (size_t more = 1; more < 8; more++) {
        cr_expect_eq(parse_pair(pair, AUTH_USER_MAX + 1 + AUTH_PASSWORD_MAX + more),
                     AUTH_BASIC_MALFORMED);
    }
    pair[AUTH_USER_MAX] = 'x';
    pair[AUTH_USER_MAX + 1] = ':';
    cr_expect_eq(parse_pair(pair, AUTH_USER_MAX + 2), AUTH_BASIC_MALFORMED);
}

Test(auth_basic, reads_back_whatever_was_encoded)
{
    unsigned state = 1;

    for (unsigned round = 0; round < 2000; round++) {
        char pair[300];
        size_t len = 3 + (size_t)(rand_r(&state) % 250);

        for (size_t i = 0; i < len; i++) {
            pair[i] = (char)(' ' + rand_r(&state) % 95);
        }
        pair[0] = 'u';
        pair[1] = ':';
        cr_assert_eq(parse_pair(pair, len), 0);
        cr_assert(str_eq(got.password, str_make(pair + 2, len - 2)));
    }
}

Test(auth_basic, leaves_nothing_secret_behind)
{
    static const struct auth_credentials empty;

    cr_assert_eq(parse("Basic YTpi"), 0);
    auth_credentials_wipe(&got);
    cr_expect_eq(memcmp(&got, &empty, sizeof(got)), 0);
    cr_assert_neq(parse("Basic OnNlY3JldA=="), 0, "a password without a name");
    cr_expect_eq(memcmp(&got, &empty, sizeof(got)), 0);
}
