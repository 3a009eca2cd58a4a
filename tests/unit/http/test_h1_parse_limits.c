// SPDX-License-Identifier: MIT
/* Limits at, one below and one above; and that work and memory stay in proportion to the input. */
#include <time.h>

#include "h1_cases.h"

/* 40 bytes of head, 10 of target, 2 fields. */
#define HEAD "GET http://ab/ HTTP/1.1\r\nHost: a\r\nA:\r\n\r\n"
#define HEAD_BYTES (sizeof(HEAD) - 1)
#define WANT "GET http://ab/ 1.1 none keep {Host=a,A=} END@40"

#define LIMITS(head, target, count)                                                                \
    .limits = {.head_bytes = (head), .target_bytes = (target), .fields = (count)}

Test(h1_parse_limits, holds_the_head_to_its_bytes)
{
    static const struct h1_case cases[] = {
        {IN(HEAD), WANT, LIMITS(41, 100, 9)},
        {IN(HEAD), WANT, LIMITS(40, 100, 9)},
        {IN(HEAD), "HEAD_TOO_LARGE@39", LIMITS(39, 100, 9)},
        {IN(HEAD), "HEAD_TOO_LARGE@10", LIMITS(10, 100, 9)},
        {IN(HEAD), "HEAD_TOO_LARGE@1", LIMITS(1, 100, 9)},
        /* What follows the head, and the empty lines before it, do not count. */
        {IN("\r\n\r\n" HEAD HEAD), "GET http://ab/ 1.1 none keep {Host=a,A=} END@44",
         LIMITS(40, 100, 9)},
        /* Never more than that is taken, however long the line. */
        {IN("GET http://a/ HTTP/1.1\r\nA: bbbbbbbbbbbbbbbbbbbbbbbbbbb"), "HEAD_TOO_LARGE@40",
         LIMITS(40, 100, 9)},
        {IN("GETGETGETGETGETGETGETGETGETGETGETGETGETGETGETGET"), "HEAD_TOO_LARGE@40",
         LIMITS(40, 100, 9)},
    };

    cr_assert_eq(HEAD_BYTES, 40);
    CHECK_REQUESTS(cases);
}

Test(h1_parse_limits, holds_the_target_to_its_bytes)
{
    static const struct h1_case cases[] = {
        {IN(HEAD), WANT, LIMITS(100, 11, 9)},
        {IN(HEAD), WANT, LIMITS(100, 10, 9)},
        {IN(HEAD), "TARGET_TOO_LONG@13", LIMITS(100, 9, 9)},
        {IN("GET http://aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"), "TARGET_TOO_LONG@14", LIMITS(100, 10, 9)},
    };

    CHECK_REQUESTS(cases);
}

Test(h1_parse_limits, holds_fields_to_their_number)
{
    static const struct h1_case cases[] = {
        {IN(HEAD), WANT, LIMITS(100, 100, 3)},
        {IN(HEAD), WANT, LIMITS(100, 100, 2)},
        {IN(HEAD), "HEAD_TOO_LARGE@40", LIMITS(100, 100, 1)},
    };

    CHECK_REQUESTS(cases);
}

Test(h1_parse_limits, holds_responses_to_them_too)
{
    static const struct h1_case cases[] = {
        {IN("HTTP/1.1 204 N\r\nA: b\r\n\r\n"), "204 [N] 1.1 none keep {A=b} END@24",
         LIMITS(24, 0, 1)},
        {IN("HTTP/1.1 204 N\r\nA: b\r\n\r\n"), "HEAD_TOO_LARGE@23", LIMITS(23, 0, 1)},
        {IN("HTTP/1.1 204 N\r\nA: b\r\n\r\n"), "HEAD_TOO_LARGE@24", LIMITS(24, 0, 0)},
        /* Blanks that are stripped count all the same. */
        {IN("HTTP/1.1 204 N\r\nA : b\r\n\r\n"), "HEAD_TOO_LARGE@24", LIMITS(24, 0, 1)},
        {IN("HTTP/1.1 204 NNNNNNNNNNNNNNNNNNNNNNNNNNNNNNNN"), "HEAD_TOO_LARGE@24",
         LIMITS(24, 0, 1)},
    };

    CHECK_RESPONSES(cases);
}

#define CHUNKED "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
#define CHUNKED_HEAD "POST / 1.1 chunked keep {Host=a,Transfer-Encoding=chunked} "

Test(h1_parse_limits, holds_trailers_to_the_same)
{
    static const struct h1_case cases[] = {
        {IN(CHUNKED "0\r\nAAAAAAAAAAAAAAAA: bbbbbbbbbbbbbbbb\r\nCCCCCCCCCCCC: dd\r\n\r\n"),
         CHUNKED_HEAD "{AAAAAAAAAAAAAAAA=bbbbbbbbbbbbbbbb,CCCCCCCCCCCC=dd} END@115",
         LIMITS(56, 100, 2)},
        {IN(CHUNKED "0\r\nAAAAAAAAAAAAAAAA: bbbbbbbbbbbbbbbb\r\nCCCCCCCCCCCC: dde\r\n\r\n"),
         CHUNKED_HEAD "HEAD_TOO_LARGE@115", LIMITS(56, 100, 2)},
        {IN(CHUNKED "0\r\nA:\r\nB:\r\nC:\r\n\r\n"), CHUNKED_HEAD "HEAD_TOO_LARGE@73",
         LIMITS(56, 100, 2)},
    };

    cr_assert_eq(sizeof(CHUNKED) - 1, 56);
    CHECK_REQUESTS(cases);
}

/* Every byte from ';' to the CR, of all chunks together. */
Test(h1_parse_limits, holds_chunk_extensions_to_the_same)
{
    static const struct h1_case cases[] = {
        {IN(CHUNKED "1;aaaaaaaaaaaaaaaaaaa=bbbbbbb\r\nx\r\n"
                    "0;aaaaaaaaaaaaaaaaaaa=bbbbbbb\r\n\r\n"),
         CHUNKED_HEAD "'x' END@123", LIMITS(56, 100, 2)},
        {IN(CHUNKED "1;aaaaaaaaaaaaaaaaaaa=bbbbbbb\r\nx\r\n"
                    "0;aaaaaaaaaaaaaaaaaaa=bbbbbbbb\r\n\r\n"),
         CHUNKED_HEAD "'x' HEAD_TOO_LARGE@119", LIMITS(56, 100, 2)},
        {IN(CHUNKED "0;aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"),
         CHUNKED_HEAD "HEAD_TOO_LARGE@113", LIMITS(56, 100, 2)},
        {IN(CHUNKED "0;a;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;"),
         CHUNKED_HEAD "HEAD_TOO_LARGE@113", LIMITS(56, 100, 2)},
    };

    CHECK_REQUESTS(cases);
}

struct fixture {
    struct h1_parser *parser;
    struct arena_pool pool;
    struct arena arena;
    struct request request;
    struct h1_limits limits;
};

static void fixture_begin(struct fixture *f)
{
    f->limits = (struct h1_limits){.head_bytes = 65536, .target_bytes = 16384, .fields = 200};
    arena_pool_init(&f->pool, NULL, NULL);
    arena_init(&f->arena, &f->pool);
    cr_assert_eq(h1_parser_new_request(NULL, &f->parser), 0);
    h1_parser_begin_request(f->parser, &f->limits, &f->arena, &f->request);
}

static void fixture_end(struct fixture *f)
{
    h1_parser_free(f->parser);
    arena_reset(&f->arena);
}

/* Pulls all events out of data; the last one. */
static enum h1_event pull(struct fixture *f, const char *data, size_t len, size_t *ret_content)
{
    enum h1_event event = H1_HEAD;
    size_t pos = 0;

    while (event == H1_HEAD || event == H1_BODY) {
        size_t taken;
        struct str body;

        event = h1_parser_next(f->parser, data + pos, len - pos, &taken, &body);
        pos += taken;
        *ret_content += body.len;
    }
    return event;
}

static double seconds_of_chunks(size_t count)
{
    struct fixture f;
    size_t len = sizeof(CHUNKED) - 1 + count * 6;
    char *in = malloc(len);
    size_t content = 0;
    clock_t start;

    memcpy(in, CHUNKED, sizeof(CHUNKED) - 1);
    for (size_t i = 0; i < count; i++) {
        memcpy(in + sizeof(CHUNKED) - 1 + i * 6, "1\r\nx\r\n", 6);
    }
    fixture_begin(&f);
    start = clock();
    cr_assert_eq(pull(&f, in, len, &content), H1_MORE);
    cr_assert_eq(content, count);
    cr_assert_leq(f.arena.total_bytes, 4096); /* chunks leave nothing behind */
    fixture_end(&f);
    free(in);
    return (double)(clock() - start) / CLOCKS_PER_SEC;
}

Test(h1_parse_limits, takes_a_million_tiny_chunks_in_linear_time)
{
    double tenth = seconds_of_chunks(100000);
    double all = seconds_of_chunks(1000000);

    cr_assert_lt(all, 40 * (tenth + 0.01), "%f s, a tenth of it %f s", all, tenth);
}

Test(h1_parse_limits, dribbled_head_costs_memory_in_proportion)
{
    static char value[60000];
    struct fixture f;
    size_t content = 0;

    memset(value, 'v', sizeof(value));
    fixture_begin(&f);
    pull(&f, "GET / HTTP/1.1\r\nHost: a\r\nA: ", 28, &content);
    for (size_t i = 0; i < sizeof(value); i++) {
        cr_assert_eq(pull(&f, value + i, 1, &content), H1_MORE);
    }
    cr_assert_eq(pull(&f, "\r\n\r\n", 4, &content), H1_END);
    cr_assert_eq(f.request.fields.items[1].value.len, sizeof(value));
    cr_assert_leq(f.arena.total_bytes, 4 * sizeof(value));
    fixture_end(&f);
}

Test(h1_parse_limits, whole_head_is_copied_once)
{
    struct fixture f;
    size_t content = 0;

    fixture_begin(&f);
    cr_assert_eq(pull(&f, HEAD, HEAD_BYTES, &content), H1_END);
    /* One copy, and the array of fields. */
    cr_assert_leq(f.arena.total_bytes, HEAD_BYTES + 64 * sizeof(struct field));
    fixture_end(&f);
}
