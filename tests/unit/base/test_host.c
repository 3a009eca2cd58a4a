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
        {"0x7f000001", "127.0.0.1"},
        {"0x7F.0x0.0x0.0x1", "127.0.0.1"},
        {"017700000001", "127.0.0.1"},
        {"00000177.1", "127.0.0.1"},
        {"127.0.1", "127.0.0.1"},
        {"127.65535", "127.0.255.255"},
        {"1.16777215", "1.255.255.255"},
        {"127.0.0.0x1.", "127.0.0.1"},
        {"0xa9fea9fe", "169.254.169.254"},
        {"0.", "0.0.0.0"},
        {"00", "0.0.0.0"},
        {"[::]", "[::]"},
        {"[::ffff:7f00:1]", "[::ffff:127.0.0.1]"},
        {"[64:FF9B::127.0.0.1]", "[64:ff9b::7f00:1]"},
        {"[0:0:0:0:0:0:0:1]", "[::1]"},
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
        {"127\xe3\x80\x82"
         "0.0.1",
         HOST_BAD_CHAR}, /* an ideographic full stop */
        {"127\xef\xbc\x8e"
         "0.0.1",
         HOST_BAD_CHAR},                       /* a full-width full stop */
        {"\xe2\x91\xa0.1.1.1", HOST_BAD_CHAR}, /* a circled digit */
        {"user@127.0.0.1", HOST_BAD_CHAR},
        {"127.0.0.1%00", HOST_BAD_CHAR},
        {"127.0.0.1#", HOST_BAD_CHAR},
        {"127.0.0.1\t", HOST_BAD_CHAR},
        {"127.0.0.1..", HOST_BAD_LABEL},
        {"127..1", HOST_BAD_LABEL},
        {"127.0.0.256", HOST_BAD_LITERAL},
        {"127.0.65536", HOST_BAD_LITERAL},
        {"127.16777216", HOST_BAD_LITERAL},
        {"127.0.0.08", HOST_BAD_LITERAL},
        {"0x100000000", HOST_BAD_LITERAL},
        {"127.0.0.0x", HOST_BAD_LITERAL},
        {"1e3", 0}, /* a name */
        {"[::1%lo]", HOST_BAD_LITERAL},
        {"[::ffff:127.0.0.01]", HOST_BAD_LITERAL},
        {"[::ffff:0x7f.0.0.1]", HOST_BAD_LITERAL},
        {"[1::2::3]", HOST_BAD_LITERAL},
        {"[:::1]", HOST_BAD_LITERAL},
        {"[127.0.0.1]", HOST_BAD_LITERAL},
        {"[localhost]", HOST_BAD_LITERAL},
        {"[ ::1]", HOST_BAD_LITERAL},
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
    if ((inet_aton(text, &ip4) != 0) != (family == 4)) {
        cr_assert_fail("libc at odds with itself: %s", text);
    }
    return family;
}

static bool is_strict_address(const char *text, unsigned char bytes[16])
{
    return inet_pton(AF_INET, text, bytes) == 1 || inet_pton(AF_INET6, text, bytes) == 1;
}

/* NULL, or how base/host and the C library differ over text. To refuse is no difference where the
 * contract says so: what has a blank or a zone id. */
static const char *disagreement(const char *text)
{
    unsigned char bytes[16] = {0};
    unsigned char strict[16] = {0};
    struct host host;
    int family = libc_reads(text, bytes);
    int r = host_parse_bare(str_of(text), &host);
    bool is_literal = r == 0 && host.is_literal;

    if (is_strict_address(text, strict) &&
        (!is_literal || memcmp(strict, host.addr.bytes, sizeof(strict)) != 0)) {
        return "inet_pton reads it, and we do not, or another address";
    }
    if (is_literal) {
        return family == (host.addr.kind == ADDR_IP4 ? 4 : 6) &&
                       memcmp(bytes, host.addr.bytes, sizeof(bytes)) == 0
                   ? NULL
                   : "we read an address, and libc none, or another one";
    }
    if (r == 0) {
        return family == 0 ? NULL : "a name that libc reads as an address";
    }
    return family == 0 || strpbrk(text, " %\t") ? NULL : "libc reads it, and we refuse it";
}

/* The other ways to write a host that is read as text is when it stands alone. */
static const char *disagreement_in_dress(const char *text)
{
    char buf[160];
    unsigned char bytes[16] = {0};
    struct host bare = {0};
    struct host dressed = {0};
    int r = host_parse(str_of(text), &bare);

    (void)snprintf(buf, sizeof(buf), "%s.", text);
    if (host_parse(str_of(buf), &dressed) != r || (r == 0 && !host_eq(&bare, &dressed))) {
        return "a dot at its end counts";
    }
    (void)snprintf(buf, sizeof(buf), "[%s]", text);
    r = host_parse(str_of(buf), &dressed);
    if ((r == 0) != (inet_pton(AF_INET6, text, bytes) == 1)) {
        return "in brackets we read an address, and inet_pton does not, or the other way round";
    }
    return r != 0 || (dressed.is_literal && dressed.addr.kind != ADDR_IP4 &&
                      memcmp(dressed.addr.bytes, bytes, sizeof(bytes)) == 0)
               ? NULL
               : "in brackets it is another address";
}

/* Assertions that hold are not free: there would be millions of them. A dot at the end, which we
 * take off and libc does not know, is tried by disagreement_in_dress alone. */
static void expect_agreement(const char *text)
{
    size_t len = strlen(text);
    const char *how = NULL;

    if (len > 0 && text[len - 1] != '.') {
        how = disagreement(text);
        how = how ? how : disagreement_in_dress(text);
    }
    if (how) {
        cr_assert_fail("%s: %s", text, how);
    }
}

/* Texts made of the pieces that address forms are made of. */
Test(host, agrees_with_libc_on_what_is_an_address)
{
    static const char *const pieces[] = {
        "0",          "1",          "127",   "255",     "256", "0x7f",        "0X",
        "0x",         "08",         "017",   "00",      ".",   ".",           ".",
        ":",          "::",         "f",     "-",       "a",   "g",           "_",
        "4294967295", "4294967296", "65536", "::ffff:", "%",   "00000000177", "16777215"};

    srand(1);
    for (int round = 0; round < 100000; round++) {
        char text[128];
        size_t len = 0;
        int count = 1 + rand() % 8;

        for (int i = 0; i < count; i++) {
            len += (size_t)snprintf(text + len, sizeof(text) - len, "%s",
                                    pieces[(size_t)rand() % ARRAY_LEN(pieces)]);
        }
        expect_agreement(text);
    }
}

/* Every number of up to `left` parts more behind text, each part spelled in every way. */
static void try_parts(char *text, size_t len, size_t cap, const char *const *parts, size_t count,
                      int left)
{
    for (size_t i = 0; i < count; i++) {
        size_t next = len + (size_t)snprintf(text + len, cap - len, "%s", parts[i]);

        expect_agreement(text);
        if (left > 1) {
            text[next] = '.';
            try_parts(text, next + 1, cap, parts, count, left - 1);
        }
    }
}

/* inet_aton's forms, one to four parts (and five, which are none): decimal, octal and hexadecimal,
 * with zeros in front, at the edges of what each part may hold, and beyond. */
Test(host, agrees_with_libc_on_every_spelling_of_ip4)
{
    static const char *const edges[] = {
        "0",
        "00",
        "0x0",
        "1",
        "01",
        "0x1",
        "08",
        "0x",
        "0xg",
        "255",
        "256",
        "0377",
        "0400",
        "0xff",
        "0XFF",
        "0x100",
        "65535",
        "65536",
        "0177777",
        "0200000",
        "0xffff",
        "0x10000",
        "16777215",
        "16777216",
        "077777777",
        "0100000000",
        "0xffffff",
        "0x1000000",
        "4294967295",
        "4294967296",
        "037777777777",
        "040000000000",
        "0xffffffff",
        "0x100000000",
        "18446744073709551617",
        "+1",
        "-1",
        "1e1",
        "",
        "0x00000000000000000000001",
    };
    static const char *const few[] = {"0",  "127",        "0177", "0x7F", "256",
                                      "08", "0000000001", "0x",   "65536"};
    char text[160];

    try_parts(text, 0, sizeof(text), edges, ARRAY_LEN(edges), 3);
    try_parts(text, 0, sizeof(text), few, ARRAY_LEN(few), 5);
}

static void try_ip6(const char *const *pieces, size_t count, const char *const *ends,
                    size_t end_count)
{
    char text[160];
    size_t len = 0;

    for (int groups = rand() % 10; groups > 0; groups--) {
        len += (size_t)snprintf(text + len, sizeof(text) - len, "%s%s",
                                pieces[(size_t)rand() % count], rand() % 8 == 0 ? "::" : ":");
    }
    (void)snprintf(text + len, sizeof(text) - len, "%s", ends[(size_t)rand() % end_count]);
    expect_agreement(text[0] == '\0' ? "::" : text);
}

/* Eight groups more often than not: too few and too many, mapped and translated forms, the IPv4
 * address at the end in every spelling, zone ids. */
Test(host, agrees_with_libc_on_ip6)
{
    static const char *const pieces[] = {"0",    "1",     "0000", "ffff", "FFFF", "64",  "ff9b",
                                         "2002", "00001", "g",    "fe80", "",     "7f00"};
    static const char *const ends[] = {"1",
                                       "",
                                       ":",
                                       "::",
                                       "127.0.0.1",
                                       "127.0.0.01",
                                       "127.1",
                                       "0x7f.0.0.1",
                                       "127.0.0.1.",
                                       "127.0.0.256",
                                       "1.2.3",
                                       "7f00:1",
                                       "ffff:0:0",
                                       "1%lo",
                                       "1%1",
                                       "1%25lo",
                                       "1%",
                                       "ffff:127.0.0.1",
                                       "::ffff:127.0.0.1",
                                       "ffff:0177.0.0.1",
                                       "10000",
                                       "0127.0.0.1",
                                       "1/64"};

    srand(2);
    for (int round = 0; round < 200000; round++) {
        try_ip6(pieces, ARRAY_LEN(pieces), ends, ARRAY_LEN(ends));
    }
}
