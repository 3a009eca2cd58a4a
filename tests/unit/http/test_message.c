// SPDX-License-Identifier: MIT
#include <criterion/criterion.h>

#include "http/message.h"

Test(message, knows_methods_by_exact_text)
{
    cr_expect_eq(method_identify(STR("GET")), METHOD_GET);
    cr_expect_eq(method_identify(STR("CONNECT")), METHOD_CONNECT);
    cr_expect_eq(method_identify(STR("TRACE")), METHOD_TRACE);
    cr_expect_eq(method_identify(STR("get")), METHOD_OTHER);
    cr_expect_eq(method_identify(STR("GETS")), METHOD_OTHER);
    cr_expect_eq(method_identify(STR("")), METHOD_OTHER);
}

Test(message, only_registered_methods_are_idempotent)
{
    cr_expect(method_is_idempotent(STR("GET")));
    cr_expect(method_is_idempotent(STR("PUT")));
    cr_expect(method_is_idempotent(STR("DELETE")));
    cr_expect(method_is_idempotent(STR("PROPFIND")));
    cr_expect_not(method_is_idempotent(STR("POST")));
    cr_expect_not(method_is_idempotent(STR("PATCH")));
    cr_expect_not(method_is_idempotent(STR("CONNECT")));
    cr_expect_not(method_is_idempotent(STR("get")));
    cr_expect_not(method_is_idempotent(STR("BREW")));
}
