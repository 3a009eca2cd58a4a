// SPDX-License-Identifier: MIT
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/host.h"

static const char *shown(const struct host *host)
{
    static char buf[300];
    struct text text = TEXT_OVER(buf);

    host_put(&text, host);
    return text_cstr(&text);
}

Test(host, reads_names)
{
    static const char *const rows[][2] = {
        {"example.com", "example.com"},
        {"EXAMPLE.Com.", "example.com"},
        {"a", "a"},
        {"_dmarc.x_y-z.example", "_dmarc.x_y-z.example"},
        {"1.2.3.4a", "1.2.3.4a"},
        {"3com.1x", "3com.1x"},
        {"0x7g", "0x7g"},
        {"127.0.0.1.example", "127.0.0.1.example"},
        {"xn--bcher-kva.example", "xn--bcher-kva.example"},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct host host;

        cr_assert_eq(host_parse(str_of(rows[i][0]), &host), 0, "%s", rows[i][0]);
        cr_expect_not(host.is_literal, "%s", rows[i][0]);
        cr_expect_str_eq(shown(&host), rows[i][1]);
        cr_expect_str_eq(host.name, rows[i][1]);
        cr_expect_eq(host_name(&host).len, strlen(rows[i][1]));
    }
}

Test(host, reads_literals_in_every_form)
{
    static const char *const rows[][2] = {
        {"127.0.0.1", "127.0.0.1"},
        {"127.1", "127.0.0.1"},
        {"2130706433", "127.0.0.1"},
        {"0x7f.1", "127.0.0.1"},
        {"0X7F000001", "127.0.0.1"},
        {"0177.0.0.01", "127.0.0.1"},
        {"0", "0.0.0.0"},
        {"127.0.0.1.", "127.0.0.1"},
        {"1.2.772", "1.2.3.4"},
        {"4294967295", "255.255.255.255"},
        {"[::1]", "[::1]"},
        {"[2001:DB8::1]", "[2001:db8::1]"},
        {"[::ffff:127.0.0.1]", "[::ffff:127.0.0.1]"},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct host host;

        cr_assert_eq(host_parse(str_of(rows[i][0]), &host), 0, "%s", rows[i][0]);
        cr_expect(host.is_literal, "%s", rows[i][0]);
        cr_expect_str_eq(shown(&host), rows[i][1]);
        cr_expect_eq(host_name(&host).len, 0);
    }
}

Test(host, refuses_with_the_reason)
{
    static const struct {
        const char *text;
        int error;
    } rows[] = {
        {"", HOST_EMPTY},
        {".", HOST_EMPTY},
        {"..", HOST_BAD_LABEL},
        {".a", HOST_BAD_LABEL},
        {"a..b", HOST_BAD_LABEL},
        {"a..", HOST_BAD_LABEL},
        {"a b", HOST_BAD_CHAR},
        {"a/b", HOST_BAD_CHAR},
        {"a\\b", HOST_BAD_CHAR},
        {"a%2eb", HOST_BAD_CHAR},
        {"a@b", HOST_BAD_CHAR},
        {"a:80", HOST_BAD_CHAR},
        {"::1", HOST_BAD_CHAR},
        {"b\xc3\xbc"
         "cher.example",
         HOST_BAD_CHAR},
        {"\xef\xbc\x91.1.1.1", HOST_BAD_CHAR}, /* a full-width digit */
        {"1.2.3.256", HOST_BAD_LITERAL},
        {"1.2.3.4.5", HOST_BAD_LITERAL},
        {"256", 0},
        {"4294967296", HOST_BAD_LITERAL},
        {"08", HOST_BAD_LITERAL},
        {"0x", HOST_BAD_LITERAL},
        {"foo.0x1f", HOST_BAD_LITERAL},
        {"foo.bar.1", HOST_BAD_LITERAL},
        {"foo.1.", HOST_BAD_LITERAL},
        {"[::1", HOST_BAD_LITERAL},
        {"[]", HOST_BAD_LITERAL},
        {"[", HOST_BAD_LITERAL},
        {"[1.2.3.4]", HOST_BAD_LITERAL},
        {"[::1%25eth0]", HOST_BAD_LITERAL},
        {"[fe80::1%1]", HOST_BAD_LITERAL},
        {"[v1.x]", HOST_BAD_LITERAL},
        {"[::1]]", HOST_BAD_LITERAL},
        {"[::1].", HOST_BAD_LITERAL},
        {"[[::1]]", HOST_BAD_LITERAL},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct host host;

        cr_expect_eq(host_parse(str_of(rows[i].text), &host), rows[i].error, "%s", rows[i].text);
    }
}

Test(host, bounds_names_and_labels)
{
    char text[400];
    struct host host;

    memset(text, 'a', sizeof(text));
    cr_expect_eq(host_parse(str_make(text, 63), &host), 0);
    cr_expect_eq(host_parse(str_make(text, 64), &host), HOST_TOO_LONG);
    for (size_t i = 50; i < sizeof(text); i += 51) {
        text[i] = '.';
    }
    cr_expect_eq(host_parse(str_make(text, 253), &host), 0);
    cr_expect_eq(host.name_len, 253);
    cr_expect_eq(host_parse(str_make(text, 254), &host), HOST_TOO_LONG);
    text[253] = '/';
    cr_expect_eq(host_parse(str_make(text, 254), &host), HOST_BAD_CHAR);
    text[253] = '.';
    cr_expect_eq(host_parse(str_make(text, 254), &host), 0, "the root's dot does not count");
}

Test(host, nul_is_no_end)
{
    struct host host;

    cr_expect_eq(host_parse(str_make("a\0b", 3), &host), HOST_BAD_CHAR);
    cr_expect_eq(host_parse(str_make("[::1\0]", 6), &host), HOST_BAD_LITERAL);
}

Test(host, bare_form_takes_ip6_without_brackets)
{
    struct host host;

    cr_expect_eq(host_parse_bare(STR("::1"), &host), 0);
    cr_expect_str_eq(shown(&host), "[::1]");
    cr_expect_eq(host_parse_bare(STR("example.com"), &host), 0);
    cr_expect_eq(host_parse_bare(STR("0x7f.1"), &host), 0);
    cr_expect(host.is_literal);
    cr_expect_eq(host_parse_bare(STR("a:80"), &host), HOST_BAD_LITERAL);
    cr_expect_eq(host_parse_bare(STR("[::1]"), &host), HOST_BAD_CHAR);
}

Test(host, compares)
{
    struct host a, b, c, d;

    cr_assert_eq(host_parse(STR("A.example."), &a), 0);
    cr_assert_eq(host_parse(STR("a.EXAMPLE"), &b), 0);
    cr_assert_eq(host_parse(STR("127.1"), &c), 0);
    cr_assert_eq(host_parse(STR("127.0.0.1"), &d), 0);
    cr_expect(host_eq(&a, &b));
    cr_expect(host_eq(&c, &d));
    cr_expect_not(host_eq(&a, &c));
}

Test(host, knows_localhost)
{
    static const struct {
        const char *text;
        bool is;
    } rows[] = {{"localhost", true},    {"LOCALHOST.", true},         {"a.localhost", true},
                {"mylocalhost", false}, {"localhost.example", false}, {"127.0.0.1", false}};

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct host host;

        cr_assert_eq(host_parse(str_of(rows[i].text), &host), 0);
        cr_expect_eq(host_is_localhost(&host), rows[i].is, "%s", rows[i].text);
    }
}

/* What inet_aton and getaddrinfo make of text: 4, 6 or 0 for no address. */
static int libc_reads(const char *text, unsigned char bytes[16])
{
    struct addrinfo hints = {.ai_flags = AI_NUMERICHOST, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    struct in_addr ip4;
    int family = 0;

    if (getaddrinfo(text, NULL, &hints, &found) == 0) {
        if (found->ai_family == AF_INET) {
            family = 4;
            memcpy(bytes, &((struct sockaddr_in *)(void *)found->ai_addr)->sin_addr, 4);
        } else {
            family = 6;
            memcpy(bytes, &((struct sockaddr_in6 *)(void *)found->ai_addr)->sin6_addr, 16);
        }
        freeaddrinfo(found);
    }
    cr_expect_eq(inet_aton(text, &ip4) != 0, family == 4, "libc at odds with itself: %s", text);
    return family;
}

static void expect_agreement(const char *text)
{
    unsigned char bytes[16] = {0};
    struct host host;
    int family = libc_reads(text, bytes);
    int r = host_parse_bare(str_of(text), &host);

    if (r == 0 && host.is_literal) {
        cr_expect_eq(family, host.addr.kind == ADDR_IP4 ? 4 : 6, "%s", text);
        cr_expect_eq(memcmp(bytes, host.addr.bytes, sizeof(bytes)), 0, "%s", text);
    } else if (r == 0) {
        cr_expect_eq(family, 0, "a name that libc reads as an address: %s", text);
    } else if (family != 0) {
        cr_expect(strpbrk(text, " %\t") != NULL, "libc reads, we refuse: %s", text);
    }
}

/* Texts made of the pieces that address forms are made of. Without a trailing dot, which we take
 * off and libc does not know. */
Test(host, agrees_with_libc_on_what_is_an_address)
{
    static const char *const pieces[] = {"0",  "1",  "127", "255",        "256",        "0x7f",
                                         "0X", "0x", "08",  "017",        "00",         ".",
                                         ".",  ".",  ":",   "::",         "f",          "-",
                                         "a",  "g",  "_",   "4294967295", "4294967296", "65536"};

    srand(1);
    for (int round = 0; round < 20000; round++) {
        char text[128];
        size_t len = 0;
        int count = 1 + rand() % 8;

        for (int i = 0; i < count; i++) {
            len += (size_t)snprintf(text + len, sizeof(text) - len, "%s",
                                    pieces[(size_t)rand() % ARRAY_LEN(pieces)]);
        }
        if (text[len - 1] != '.') {
            expect_agreement(text);
        }
    }
}
