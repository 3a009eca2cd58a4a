// SPDX-License-Identifier: MIT
#include <criterion/criterion.h>
#include <string.h>

#include "http/h1_write.h"

static struct arena_pool pool;
static struct arena arena;

static void set_up(void)
{
    arena_pool_init(&pool, 4, NULL);
    arena_init(&arena, &pool);
}

static void tear_down(void)
{
    arena_reset(&arena);
    arena_pool_deinit(&pool);
}

TestSuite(h1_write, .init = set_up, .fini = tear_down);

static void expect_text(struct str got, const char *want)
{
    cr_expect(str_eq(got, str_of(want)), "got:\n%.*s\nwant:\n%s", STR_ARG(got), want);
}

Test(h1_write, writes_requests_without_dropped_fields)
{
    struct request request = {.method_text = STR("GET"), .minor_version = 0};

    request.target.origin_form = STR("/a?b");
    field_list_init(&request.fields, &arena);
    cr_assert_eq(field_list_add(&request.fields, STR("Host"), STR("a")), 0);
    cr_assert_eq(field_list_add(&request.fields, STR("x-Gone"), STR("1")), 0);
    cr_assert_eq(field_list_add(&request.fields, STR("X"), STR("")), 0);
    request.fields.items[1].dropped = true;
    expect_text(h1_write_request(&arena, &request), "GET /a?b HTTP/1.1\r\nHost: a\r\nX: \r\n\r\n");
}

Test(h1_write, writes_responses_with_the_reason_they_have)
{
    struct response response = {.status = 299, .reason = STR("Fine by Me")};

    field_list_init(&response.fields, &arena);
    expect_text(h1_write_response(&arena, &response), "HTTP/1.1 299 Fine by Me\r\n\r\n");
    response.reason = STR("");
    expect_text(h1_write_response(&arena, &response), "HTTP/1.1 299 \r\n\r\n");
}

Test(h1_write, writes_heads_larger_than_a_chunk_of_the_arena)
{
    static char value[60000];
    struct response response = {.status = 200, .reason = STR("OK")};
    struct str head;

    memset(value, 'v', sizeof(value));
    field_list_init(&response.fields, &arena);
    cr_assert_eq(field_list_add(&response.fields, STR("A"), str_make(value, sizeof(value))), 0);
    head = h1_write_response(&arena, &response);
    cr_expect_eq(head.len, strlen("HTTP/1.1 200 OK\r\nA: \r\n\r\n") + sizeof(value));
    cr_expect(str_ends(head, STR("v\r\n\r\n")));
}

Test(h1_write, writes_chunk_heads)
{
    static const struct {
        uint64_t len;
        const char *want;
    } rows[] = {{1, "1\r\n"}, {0x1a0f, "1a0f\r\n"}, {UINT64_MAX, "ffffffffffffffff\r\n"}};

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char buf[H1_CHUNK_HEAD_MAX];

        expect_text(str_make(buf, h1_write_chunk_head(buf, rows[i].len)), rows[i].want);
    }
}

Test(h1_write, ends_chunked_bodies)
{
    struct field_list trailers;

    field_list_init(&trailers, &arena);
    expect_text(h1_write_last_chunk(&arena, NULL), "0\r\n\r\n");
    expect_text(h1_write_last_chunk(&arena, &trailers), "0\r\n\r\n");
    cr_assert_eq(field_list_add(&trailers, STR("Digest"), STR("x")), 0);
    cr_assert_eq(field_list_add(&trailers, STR("Gone"), STR("x")), 0);
    trailers.items[1].dropped = true;
    expect_text(h1_write_last_chunk(&arena, &trailers), "0\r\nDigest: x\r\n\r\n");
}

Test(h1_write, knows_reasons)
{
    cr_expect_str_eq(h1_reason(431), "Request Header Fields Too Large");
    cr_expect_str_eq(h1_reason(299), "");
}
