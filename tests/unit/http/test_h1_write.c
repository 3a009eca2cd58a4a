// SPDX-License-Identifier: MIT
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "../faults.h"
#include "http/h1_write.h"

static struct arena_pool pool;
static struct arena arena;

static void set_up(void)
{
    arena_pool_init(&pool, NULL, NULL);
    arena_init(&arena, &pool);
}

static void tear_down(void)
{
    arena_reset(&arena);
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

/* "Name: value" of a block, as the parser hands it over. */
static void add_line(struct field_list *list, const char *block, const char *name, size_t value_len)
{
    struct str field = str_of(name);
    const char *at = strstr(block, name);

    cr_assert_not_null(at);
    cr_assert_eq(field_list_add_line(list, str_make(at, field.len),
                                     str_trim(str_make(at + field.len + 1, value_len + 1))),
                 0);
}

/* Whatever is copied at once, the head is what its fields one by one would make. */
Test(h1_write, copies_lines_as_they_came_and_nothing_between_them)
{
    static const char block[] =
        "A: 1\r\nB: 22\r\nLost: 3\r\nC:4\r\nD:  5\r\nE: 6 \r\nF: 7\r\nG: \r\n"
        "H: 8\r\nOver: 0\r\nI: 9\r\nJ:\t0\r\n\r\n";
    static const struct {
        const char *name;
        size_t value_len;
        bool verbatim;
    } lines[] = {{"A", 1, true},  {"B", 2, true},  {"Lost", 1, true}, {"C", 0, false},
                 {"D", 2, false}, {"E", 1, false}, {"F", 1, true},    {"G", 0, false},
                 {"H", 1, true},  {"I", 1, true},  {"J", 1, false}};
    struct request request = {.method_text = STR("GET"), .minor_version = 1};

    request.target.origin_form = STR("/");
    field_list_init(&request.fields, &arena);
    for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
        add_line(&request.fields, block, lines[i].name, lines[i].value_len);
        cr_expect_eq(request.fields.items[i].verbatim, lines[i].verbatim, "%s", lines[i].name);
    }
    request.fields.items[2].dropped = true;
    expect_text(h1_write_request(&arena, &request),
                "GET / HTTP/1.1\r\nA: 1\r\nB: 22\r\nC: 4\r\nD: 5\r\nE: 6\r\nF: 7\r\nG: \r\n"
                "H: 8\r\nI: 9\r\nJ: 0\r\n\r\n");
    cr_assert_eq(field_list_add_first(&request.fields, FIELD_HOST, STR("h")), 0);
    cr_assert_eq(field_list_add_id(&request.fields, FIELD_VIA, STR("v")), 0);
    expect_text(h1_write_request(&arena, &request),
                "GET / HTTP/1.1\r\nHost: h\r\nA: 1\r\nB: 22\r\nC: 4\r\nD: 5\r\nE: 6\r\nF: 7\r\n"
                "G: \r\nH: 8\r\nI: 9\r\nJ: 0\r\nVia: v\r\n\r\n");
}

static int write_response(void)
{
    struct response response = {.status = 200, .reason = STR("OK")};

    field_list_init(&response.fields, &arena);
    return h1_write_response(&arena, &response).ptr ? 0 : -ENOMEM;
}

Test(h1_write, says_when_memory_is_out)
{
    cr_expect_eq(fail_each_allocation(set_up, write_response), 1);
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
