// SPDX-License-Identifier: MIT
#include <criterion/criterion.h>

#include "base/arena.h"
#include "base/attr.h"
#include "http/persist.h"

#define BEFORE 77777

static struct arena_pool pool;
static struct arena arena;
static struct field_list fields;

static void begin(void)
{
    arena_pool_init(&pool, NULL, NULL);
    arena_init(&arena, &pool);
    field_list_init(&fields, &arena);
}

static void add(const char *name, const char *value)
{
    cr_assert_eq(field_list_add(&fields, str_of(name), str_of(value)), 0);
}

Test(persist, knows_schemes_that_bind_a_connection)
{
    static const struct {
        const char *value;
        bool is_bound;
    } cases[] = {
        {"NTLM", true},
        {"ntlm TlRMTVNTUAAB", true},
        {"Negotiate\tYII", true},
        {"Basic realm=\"a\", Negotiate", true},
        {"Basic realm=\"a\"", false},
        {"NTLMX", false},
        {"X NTLM", false},
        {"", false},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        begin();
        add("WWW-Authenticate", "Basic");
        add("www-authenticate", cases[i].value);
        cr_expect_eq(persist_is_bound(&fields, FIELD_WWW_AUTHENTICATE), cases[i].is_bound, "%s",
                     cases[i].value);
        cr_expect_not(persist_is_bound(&fields, FIELD_AUTHORIZATION));
        arena_reset(&arena);
    }
}

Test(persist, idles_a_second_less_than_it_may)
{
    static const struct {
        const char *value;
        uint64_t idle_ms;
    } cases[] = {
        {"timeout=5", 4000},
        {"max=100, Timeout=60", 59000},
        {"timeout=1", 0},
        {"timeout=0", 0},
        {"timeout=4294967295", 4294967294000},
        {"timeout=4294967296", BEFORE},
        {"timeout=x", BEFORE},
        {"timeout=", BEFORE},
        {"max=100", BEFORE},
        {"", BEFORE},
    };

    begin();
    cr_expect_eq(persist_idle_ms(&fields, BEFORE), BEFORE);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        begin();
        add("Keep-Alive", cases[i].value);
        cr_expect_eq(persist_idle_ms(&fields, BEFORE), cases[i].idle_ms, "%s", cases[i].value);
        arena_reset(&arena);
    }
}
