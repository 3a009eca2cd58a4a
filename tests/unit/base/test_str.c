// SPDX-License-Identifier: MIT
#include <criterion/criterion.h>

#include "base/str.h"

Test(str, compares_in_both_cases)
{
    cr_expect(str_eq(STR("aB"), STR("aB")));
    cr_expect_not(str_eq(STR("aB"), STR("ab")));
    cr_expect_not(str_eq(STR("a"), STR("ab")));
    cr_expect(str_eq(STR(""), str_of(NULL)));
    cr_expect(str_ieq(STR("Content-MD5"), STR("content-md5")));
    cr_expect_not(str_ieq(STR("ab"), STR("abc")));
    cr_expect_not(str_ieq(STR("@["), STR("`{")), "only letters have two cases");
    cr_expect(str_istarts(STR("HTTP/1.1"), STR("http/")));
    cr_expect_not(str_istarts(STR("ht"), STR("http")));
    cr_expect(str_starts(STR("abc"), STR("")));
    cr_expect(str_ends(STR("abc"), STR("bc")));
    cr_expect_not(str_ends(STR("bc"), STR("abc")));
}

Test(str, finds_from_both_ends)
{
    cr_expect_eq(str_find(STR("a:b:c"), ':'), 1);
    cr_expect_eq(str_rfind(STR("a:b:c"), ':'), 3);
    cr_expect_eq(str_find(STR("abc"), ':'), 3);
    cr_expect_eq(str_rfind(STR(""), ':'), 0);
    cr_expect_not(str_has(STR("abc"), '\0'));
    cr_expect(str_has(str_make("a\0b", 3), '\0'));
}

Test(str, cuts_stay_in_bounds)
{
    cr_expect(str_eq(str_from(STR("abc"), 1), STR("bc")));
    cr_expect_eq(str_from(STR("abc"), 9).len, 0);
    cr_expect(str_eq(str_head(STR("abc"), 2), STR("ab")));
    cr_expect_eq(str_head(STR("abc"), 9).len, 3);
    cr_expect(str_eq(str_trim(STR(" \t a b\t ")), STR("a b")));
    cr_expect_eq(str_trim(STR(" \t ")).len, 0);
    cr_expect(str_eq(str_trim(STR("\ra")), STR("\ra")));
}

Test(str, cut_tells_no_more_from_empty)
{
    struct str rest = STR("a , b,");

    cr_expect(str_eq(str_cut(&rest, ','), STR("a")));
    cr_expect(str_eq(str_cut(&rest, ','), STR("b")));
    cr_expect(rest.ptr != NULL && rest.len == 0, "an empty piece follows");
    cr_expect_eq(str_cut(&rest, ',').len, 0);
    cr_expect_null(rest.ptr);
}

Test(str, numbers_are_strict)
{
    static const char *const bad[] = {"", "+1", "-1", " 1", "1 ", "0x1", "1.0", "256", "1\n"};
    uint64_t value = 7;

    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        cr_expect_not(str_parse_u64(str_of(bad[i]), 255, &value), "%s", bad[i]);
    }
    cr_expect_eq(value, 7, "untouched");
    cr_expect(str_parse_u64(STR("0000255"), 255, &value) && value == 255);
    cr_expect(str_parse_u64(STR("18446744073709551615"), UINT64_MAX, &value) &&
              value == UINT64_MAX);
    cr_expect_not(str_parse_u64(STR("18446744073709551616"), UINT64_MAX, &value));
    cr_expect(str_parse_hex(STR("fFfFfFfFfFfFfFfF"), UINT64_MAX, &value) && value == UINT64_MAX);
    cr_expect_not(str_parse_hex(STR("10000000000000000"), UINT64_MAX, &value));
    cr_expect_not(str_parse_hex(STR("g"), UINT64_MAX, &value));
    cr_expect_not(str_parse_hex(STR("0x1"), UINT64_MAX, &value));
}
