// SPDX-License-Identifier: MIT
#include <criterion/criterion.h>

#include "base/url.h"

static bool is(struct str s, const char *text)
{
    return str_eq(s, str_of(text));
}

Test(url, cuts_all_parts)
{
    struct url url;
    int host_error;

    cr_assert_eq(url_parse(STR("HTTP://user:p@ss@Example.COM:8080/a?b#c"), &url, &host_error), 0);
    cr_expect(is(url.scheme, "HTTP"));
    cr_expect(url.has_userinfo);
    cr_expect(is(url.userinfo, "user:p@ss"));
    cr_expect_str_eq(url.host.name, "example.com");
    cr_expect_eq(url.port, 8080);
    cr_expect(is(url.rest, "/a?b#c"));
}

Test(url, parts_may_be_absent)
{
    static const struct {
        const char *text;
        const char *rest;
        unsigned port;
        bool userinfo;
    } rows[] = {
        {"http://a", "", 0, false},         {"http://a:", "", 0, false},
        {"http://a:/x", "/x", 0, false},    {"http://a?q@r:1", "?q@r:1", 0, false},
        {"http://a#f", "#f", 0, false},     {"http://@a/", "/", 0, true},
        {"http://[::1]:1/", "/", 1, false}, {"http://[::1]", "", 0, false},
        {"a+b-c.1://a/", "/", 0, false},    {"http://a:00080//", "//", 80, false},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct url url;
        int host_error;

        cr_assert_eq(url_parse(str_of(rows[i].text), &url, &host_error), 0, "%s", rows[i].text);
        cr_expect(is(url.rest, rows[i].rest), "%s", rows[i].text);
        cr_expect_eq(url.port, rows[i].port, "%s", rows[i].text);
        cr_expect_eq(url.has_userinfo, rows[i].userinfo, "%s", rows[i].text);
    }
}

Test(url, refuses_with_the_reason)
{
    static const struct {
        const char *text;
        int error;
        int host_error;
    } rows[] = {
        {"", URL_NO_SCHEME, 0},
        {"example.com", URL_NO_SCHEME, 0},
        {"http:/a", URL_NO_SCHEME, 0},
        {"://a", URL_NO_SCHEME, 0},
        {"1http://a", URL_NO_SCHEME, 0},
        {"ht tp://a", URL_NO_SCHEME, 0},
        {"http://", URL_BAD_HOST, HOST_EMPTY},
        {"http:///path", URL_BAD_HOST, HOST_EMPTY},
        {"http://:80/", URL_BAD_HOST, HOST_EMPTY},
        {"http://u@/", URL_BAD_HOST, HOST_EMPTY},
        {"http://a b/", URL_BAD_HOST, HOST_BAD_CHAR},
        {"http://a\\@b/", 0, 0},
        {"http://a\\.b/", URL_BAD_HOST, HOST_BAD_CHAR},
        {"http://::1/", URL_BAD_HOST, HOST_BAD_CHAR},
        {"http://[::1/", URL_BAD_HOST, HOST_BAD_LITERAL},
        {"http://[::1]x/", URL_BAD_PORT, 0},
        {"http://a:0/", URL_BAD_PORT, 0},
        {"http://a:65536/", URL_BAD_PORT, 0},
        {"http://a:+80/", URL_BAD_PORT, 0},
        {"http://a: 80/", URL_BAD_PORT, 0},
        {"http://a:80a/", URL_BAD_PORT, 0},
        {"http://a:18446744073709551696/", URL_BAD_PORT, 0},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct url url;
        int host_error = 0;

        cr_expect_eq(url_parse(str_of(rows[i].text), &url, &host_error), rows[i].error, "%s",
                     rows[i].text);
        cr_expect_eq(host_error, rows[i].host_error, "%s", rows[i].text);
    }
}

Test(url, authority_needs_its_port)
{
    static const struct {
        const char *text;
        int error;
        unsigned port;
    } rows[] = {
        {"a:443", 0, 443},
        {"[::1]:1", 0, 1},
        {"a", URL_BAD_PORT, 0},
        {"a:", URL_BAD_PORT, 0},
        {"a:0", URL_BAD_PORT, 0},
        {"a:443/", URL_BAD_PORT, 0},
        {"u@a:443", URL_BAD_HOST, 0},
        {":443", URL_BAD_HOST, 0},
        {"a:b:443", URL_BAD_HOST, 0},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct host host;
        uint16_t port = 0;
        int host_error;

        cr_expect_eq(url_parse_authority(str_of(rows[i].text), &host, &port, &host_error),
                     rows[i].error, "%s", rows[i].text);
        cr_expect_eq(port, rows[i].port, "%s", rows[i].text);
    }
}

Test(url, host_field_may_lack_its_port)
{
    struct host host;
    uint16_t port = 7;
    int host_error;

    cr_expect_eq(url_parse_host_port(STR("example.com"), &host, &port, &host_error), 0);
    cr_expect_eq(port, 0);
    cr_expect_eq(url_parse_host_port(STR("example.com:8080"), &host, &port, &host_error), 0);
    cr_expect_eq(port, 8080);
    cr_expect_eq(url_parse_host_port(STR("a, b"), &host, &port, &host_error), URL_BAD_HOST);
}
