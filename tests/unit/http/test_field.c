// SPDX-License-Identifier: MIT
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "http/field.h"
#include "http/message.h"

static struct arena_pool pool;
static struct arena arena;
static struct field_list list;

static void set_up(void)
{
    arena_pool_init(&pool, NULL, NULL);
    arena_init(&arena, &pool);
    field_list_init(&list, &arena);
}

static void tear_down(void)
{
    arena_reset(&arena);
}

TestSuite(field, .init = set_up, .fini = tear_down);

static void add(const char *name, const char *value)
{
    cr_assert_eq(field_list_add(&list, str_of(name), str_of(value)), 0);
}

Test(field, identifies_every_known_name_in_any_case)
{
    for (int id = FIELD_OTHER + 1; id < FIELD_ID_COUNT; id++) {
        char name[32] = "";

        cr_assert_gt(strlen(field_name((enum field_id)id)), 0, "no name for %d", id);
        cr_expect_eq(field_identify(str_of(field_name((enum field_id)id))), id);
        strcpy(name, field_name((enum field_id)id));
        for (char *c = name; *c; c++) {
            *c = *c >= 'a' && *c <= 'z' ? (char)(*c - 32) : str_lower(*c);
        }
        cr_expect_eq(field_identify(str_of(name)), id, "%s", name);
        name[0] = '_';
        cr_expect_eq(field_identify(str_of(name)), FIELD_OTHER, "%s", name);
    }
}

Test(field, leaves_others_unknown)
{
    static const char *const names[] = {"",
                                        "T",
                                        "Hos",
                                        "Hosts",
                                        "Connection-",
                                        "X-Forwarded-Fox",
                                        "Referral",
                                        "Referes",
                                        "WWW-Authenticated",
                                        "Proxy-Authorizatiom",
                                        "A-Name-That-Is-Longer-Than-All"};

    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        cr_expect_eq(field_identify(str_of(names[i])), FIELD_OTHER, "%s", names[i]);
    }
}

Test(field, keeps_order_beyond_the_first_allocation)
{
    char names[200][16];

    for (int i = 0; i < 200; i++) {
        (void)snprintf(names[i], sizeof(names[i]), "x%d", i);
        add(names[i], "v");
    }
    cr_assert_eq(field_list_add_first(&list, FIELD_HOST, STR("h")), 0);
    cr_assert_eq(list.count, 201);
    cr_expect_eq(list.items[0].id, FIELD_HOST);
    for (size_t i = 0; i < 200; i++) {
        cr_expect(str_eq(list.items[i + 1].name, str_of(names[i])));
    }
}

Test(field, finds_repeated_ones_and_passes_over_dropped)
{
    const struct field *field;

    add("Via", "1.1 a");
    add("X", "y");
    add("via", "1.1 b");
    add("VIA", "1.1 c");
    list.items[2].dropped = true;
    cr_expect_eq(field_count(&list, FIELD_VIA), 2);
    field = field_find(&list, FIELD_VIA);
    cr_assert(field);
    cr_expect(str_eq(field->value, STR("1.1 a")));
    field = field_next(&list, field);
    cr_assert(field);
    cr_expect(str_eq(field->value, STR("1.1 c")));
    cr_expect_null(field_next(&list, field));
    field_drop_all(&list, FIELD_VIA);
    cr_expect_eq(field_count(&list, FIELD_VIA), 0);
    cr_expect_eq(field_value(&list, FIELD_VIA).len, 0);
}

Test(field, cuts_lists)
{
    static const struct {
        const char *value;
        const char *elements[5];
    } rows[] = {
        {"", {0}},
        {" ,, \t,", {0}},
        {"a", {"a"}},
        {" a ,b,, c\t", {"a", "b", "c"}},
        {"a;x=\"1,2\", b", {"a;x=\"1,2\"", "b"}},
        {"\"a\\\",b\", c", {"\"a\\\",b\"", "c"}},
        {"a\\,b", {"a\\", "b"}},
        {"\"open, a", {"\"open, a"}},
        {"\"open\\", {"\"open\\"}},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct str rest = str_of(rows[i].value);
        struct str element;
        size_t n = 0;

        while (field_next_element(&rest, &element)) {
            cr_assert(rows[i].elements[n], "too many in %s", rows[i].value);
            cr_expect(str_eq(element, str_of(rows[i].elements[n])), "%s", rows[i].value);
            n++;
        }
        cr_expect_null(rows[i].elements[n], "too few in %s", rows[i].value);
    }
}

Test(field, finds_tokens_in_all_lines)
{
    add("Connection", "keep-alive");
    add("connection", "foo, Upgrade ,bar");
    cr_expect(field_has_token(&list, FIELD_CONNECTION, STR("upgrade")));
    cr_expect(field_has_token(&list, FIELD_CONNECTION, STR("Keep-Alive")));
    cr_expect_not(field_has_token(&list, FIELD_CONNECTION, STR("close")));
    cr_expect_not(field_has_token(&list, FIELD_CONNECTION, STR("keep")));
    cr_expect_not(field_has_token(&list, FIELD_TE, STR("foo")));
}
