// SPDX-License-Identifier: MIT
#include <criterion/criterion.h>
#include <stdint.h>

#include "base/mem.h"

Test(mem, array_that_no_size_holds_is_refused)
{
    cr_expect_null(mem_realloc_array(NULL, SIZE_MAX / 2, 3));
}

Test(mem, copies_nothing_as_an_empty_string)
{
    char *copy = mem_strndup(NULL, 0);

    cr_assert_not_null(copy);
    cr_expect_str_eq(copy, "");
    mem_free(copy);
}

#ifdef MEM_FAULTS
Test(mem, what_a_test_asks_for_fails_and_no_more)
{
    void *first;
    void *third;

    mem_fail(2, 2);
    first = mem_alloc(1);
    cr_expect_null(mem_zalloc(1));
    third = mem_realloc(NULL, 1);
    cr_expect(first && third);
    cr_expect_eq(mem_failed(), 1);
    mem_free(first);
    mem_free(third);
}
#endif
