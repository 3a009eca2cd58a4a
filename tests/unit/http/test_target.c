// SPDX-License-Identifier: MIT
#include <criterion/criterion.h>

#include "../faults.h"
#include "base/arena.h"
#include "http/target.h"

static struct arena_pool pool;
static struct arena arena;

static void set_up(void)
{
    arena_pool_init(&pool, NULL, NULL);
    arena_init(&arena, &pool);
}

static void tear_down(void)
{
    arena_reset(&arena);
}

TestSuite(target, .init = set_up, .fini = tear_down);

Test(target, reads_what_a_proxy_is_asked)
{
    static const struct {
        const char *method, *text, *host, *origin_form;
        unsigned port;
    } rows[] = {
        {"GET", "http://example.com", "example.com", "/", 80},
        {"GET", "http://example.com/", "example.com", "/", 80},
        {"GET", "HTTP://Example.COM.:8080/A?b=%41", "example.com", "/A?b=%41", 8080},
        {"GET", "http://example.com?q", "example.com", "/?q", 80},
        {"GET", "http://example.com:/x//../y", "example.com", "/x//../y", 80},
        {"GET", "http://a/{x}|\"y\"^`\\", "a", "/{x}|\"y\"^`\\", 80},
        {"GET", "http://a/@b:c", "a", "/@b:c", 80},
        {"GET", "http://[2001:DB8::1]:1/", "[2001:db8::1]", "/", 1},
        {"GET", "http://2130706433/", "127.0.0.1", "/", 80},
        {"OPTIONS", "http://example.com", "example.com", "*", 80},
        {"OPTIONS", "http://example.com/", "example.com", "/", 80},
        {"OPTIONS", "http://example.com?q", "example.com", "/?q", 80},
        {"options", "http://example.com", "example.com", "/", 80},
        {"CONNECT", "Example.com:443", "example.com", "", 443},
        {"CONNECT", "[::1]:65535", "[::1]", "", 65535},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char buf[300];
        struct text host = TEXT_OVER(buf);
        struct target target;

        cr_assert_eq(target_parse(str_of(rows[i].method), str_of(rows[i].text), &arena, &target), 0,
                     "%s", rows[i].text);
        host_put(&host, &target.host);
        cr_expect_str_eq(text_cstr(&host), rows[i].host);
        cr_expect_eq(target.port, rows[i].port, "%s", rows[i].text);
        cr_expect(str_eq(target.origin_form, str_of(rows[i].origin_form)), "%s", rows[i].text);
        cr_expect_eq(target.form, rows[i].origin_form[0] ? TARGET_ABSOLUTE : TARGET_AUTHORITY);
    }
}

Test(target, refuses_with_the_reason)
{
    static const struct {
        const char *method, *text;
        int error;
    } rows[] = {
        {"GET", "/", TARGET_NOT_PROXY},
        {"GET", "/path?q", TARGET_NOT_PROXY},
        {"GET", "//host/path", TARGET_NOT_PROXY},
        {"OPTIONS", "*", TARGET_NOT_PROXY},
        {"GET", "", TARGET_MALFORMED},
        {"GET", "example.com", TARGET_MALFORMED},
        {"GET", "example.com:80", TARGET_MALFORMED},
        {"GET", "?q", TARGET_MALFORMED},
        {"GET", "mailto:a@b", TARGET_MALFORMED},
        {"GET", "http:/a", TARGET_MALFORMED},
        {"GET", "https://example.com/", TARGET_HTTPS},
        {"GET", "HTTPS://example.com/", TARGET_HTTPS},
        {"GET", "ftp://example.com/", TARGET_SCHEME},
        {"GET", "ftp://a b/", TARGET_BAD_CHAR},
        {"GET", "x://%/", TARGET_SCHEME},
        {"GET", "http2://a/", TARGET_SCHEME},
        {"GET", "http://", TARGET_BAD_HOST},
        {"GET", "http:///path", TARGET_BAD_HOST},
        {"GET", "http://:80/", TARGET_BAD_HOST},
        {"GET", "http://a..b/", TARGET_BAD_HOST},
        {"GET", "http://1.2.3.4.5/", TARGET_BAD_HOST},
        {"GET", "http://a%2eb/", TARGET_BAD_HOST},
        {"GET", "http://a\\b/", TARGET_BAD_HOST},
        {"GET", "http://a:0/", TARGET_BAD_PORT},
        {"GET", "http://a:65536/", TARGET_BAD_PORT},
        {"GET", "http://a:x/", TARGET_BAD_PORT},
        {"GET", "http://u@a/", TARGET_USERINFO},
        {"GET", "http://@a/", TARGET_USERINFO},
        {"GET", "http://u:p@a:80/", TARGET_USERINFO},
        {"GET", "http://a/#f", TARGET_BAD_CHAR},
        {"GET", "http://a/\t", TARGET_BAD_CHAR},
        {"GET", "http://a/ b", TARGET_BAD_CHAR},
        {"GET", "http://a/\x7f", TARGET_BAD_CHAR},
        {"GET", "http://a/\xc3\xa4", TARGET_BAD_CHAR},
        {"GET", "/\r", TARGET_BAD_CHAR},
        {"CONNECT", "example.com", TARGET_BAD_PORT},
        {"CONNECT", "example.com:", TARGET_BAD_PORT},
        {"CONNECT", "example.com:0", TARGET_BAD_PORT},
        {"CONNECT", "example.com:443x", TARGET_BAD_PORT},
        {"CONNECT", ":443", TARGET_BAD_HOST},
        {"CONNECT", "a:b:443", TARGET_BAD_HOST},
        {"CONNECT", "", TARGET_BAD_HOST},
        {"CONNECT", "example.com:443/", TARGET_MALFORMED},
        {"CONNECT", "example.com:443?x", TARGET_MALFORMED},
        {"CONNECT", "http://example.com:443", TARGET_MALFORMED},
        {"CONNECT", "/", TARGET_MALFORMED},
        {"CONNECT", "*", TARGET_MALFORMED},
        {"CONNECT", "u:p@example.com:443", TARGET_USERINFO},
        {"connect", "example.com:443", TARGET_MALFORMED},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct target target;

        cr_expect_eq(target_parse(str_of(rows[i].method), str_of(rows[i].text), &arena, &target),
                     rows[i].error, "%s %s", rows[i].method, rows[i].text);
        if (rows[i].error != 0) {
            cr_expect_str_neq(target_error_text(rows[i].error), "the target is not valid");
        }
    }
}

Test(target, nul_is_no_end)
{
    struct target target;

    cr_expect_eq(target_parse(STR("GET"), str_make("http://a/\0b", 11), &arena, &target),
                 TARGET_BAD_CHAR);
}

static void start_over(void)
{
    tear_down();
    set_up();
}

static int parse_query_alone(void)
{
    struct target target = {.port = 77};
    int r = target_parse(STR("GET"), STR("http://a.example?q"), &arena, &target);

    cr_assert_eq(target.port, r == 0 ? 80 : 77);
    return r;
}

Test(target, says_when_memory_is_out)
{
    cr_expect_eq(fail_each_allocation(start_over, parse_query_alone), 2);
}

Test(target, has_a_sentence_for_every_error)
{
    for (int error = 0; error <= TARGET_MALFORMED; error++) {
        cr_expect_gt(str_of(target_error_text(error)).len, 0);
    }
}
