// SPDX-License-Identifier: MIT
#include <criterion/criterion.h>
#include <string.h>

#include "policy/idn.h"

static const char *ascii(const char *name)
{
    static char buf[IDN_TEXT_MAX];
    struct text out = TEXT_OVER(buf);

    return idn_to_ascii(str_of(name), &out) ? text_cstr(&out) : "none";
}

Test(idn, writes_the_ascii_form)
{
    static const char *const rows[][2] = {
        {"b\u00fccher.example", "xn--bcher-kva.example"},
        {"B\u00dcCHER.Example", "xn--bcher-kva.Example"},
        {"bu\u0308cher.example", "xn--bcher-kva.example"}, /* u and an accent of its own */
        {"stra\u00dfe.example", "xn--strae-oqa.example"},
        {".\u4f8b\u3048.\u30c6\u30b9\u30c8", ".xn--r8jz45g.xn--zckzah"},
        {"*.b\u00fccher.example", "*.xn--bcher-kva.example"},
        {"\uff11\uff12\uff17.0.0.1", "127.0.0.1"}, /* full-width digits */
        {"example.com", "none"},
        {"", "none"},
        {"\xff.example", "none"},
        {"b\u00fc*.example", "none"},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        cr_expect_str_eq(ascii(rows[i][0]), rows[i][1], "%s: %s", rows[i][0], ascii(rows[i][0]));
    }
}

Test(idn, has_no_form_for_what_is_too_long)
{
    static char name[8192];

    for (size_t i = 0; i + 3 < sizeof(name); i += 2) {
        memcpy(name + i, "\u00fc", 2);
    }
    cr_expect_str_eq(ascii(name), "none");
    name[1000] = '\0';
    cr_expect_str_eq(ascii(name), "none");
    for (size_t i = 20; i < 1000; i += 22) {
        name[i] = '.';
        name[i + 1] = 'a';
    }
    cr_expect_str_eq(ascii(name), "none");
}

Test(idn, names_its_library)
{
    cr_expect(strlen(idn_library_version()) >= 3);
}
