// SPDX-License-Identifier: MIT
#include <criterion/criterion.h>

#include "base/text.h"

Test(text, leaves_out_whole_what_does_not_fit)
{
    char buf[5];
    struct text t = TEXT_OVER(buf);

    text_puts(&t, "abc");
    text_puts(&t, "def");
    cr_expect(t.full);
    cr_expect(str_eq(text_str(&t), STR("abc")));
    text_puts(&t, "de");
    cr_expect(str_eq(text_str(&t), STR("abcde")));
}

Test(text, fits_to_the_last_byte)
{
    char buf[3];
    struct text t = TEXT_OVER(buf);

    text_puts(&t, "abc");
    cr_expect_not(t.full);
    cr_expect_str_eq(text_cstr(&t), "ab", "the NUL takes the last byte");
    cr_expect(t.full);
}

Test(text, writes_numbers)
{
    char buf[200];
    struct text t = TEXT_OVER(buf);

    text_u64(&t, 0);
    text_char(&t, ' ');
    text_u64(&t, UINT64_MAX);
    text_char(&t, ' ');
    text_hex(&t, 0, 0);
    text_char(&t, ' ');
    text_hex(&t, 0xabc, 8);
    text_char(&t, ' ');
    text_hex(&t, UINT64_MAX, 1);
    text_printf(&t, " %d%%", -5);
    cr_expect_str_eq(text_cstr(&t), "0 18446744073709551615 0 00000abc ffffffffffffffff -5%");
}

Test(text, printf_is_all_or_nothing)
{
    char buf[6];
    struct text t = TEXT_OVER(buf);

    text_printf(&t, "%s", "abc");
    text_printf(&t, "%s", "defgh");
    cr_expect(t.full);
    cr_expect(str_eq(text_str(&t), STR("abc")));
}

Test(text, needs_no_memory_to_be_full)
{
    struct text t = text_over(NULL, 0);

    text_put(&t, STR(""));
    cr_expect_not(t.full);
    text_printf(&t, "x");
    text_char(&t, 'x');
    cr_expect(t.full);
    cr_expect_eq(t.len, 0);
}
