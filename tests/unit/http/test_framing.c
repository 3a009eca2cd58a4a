// SPDX-License-Identifier: MIT
#include <criterion/criterion.h>
#include <string.h>

#include "base/arena.h"
#include "base/attr.h"
#include "http/framing.h"

struct framing_case {
    const char *lengths[3]; /* Content-Length fields */
    const char *codings[3]; /* Transfer-Encoding fields */
    int error;
    enum body_kind kind; /* when there is no error */
    uint64_t length;
};

static void add_all(struct field_list *fields, const char *name, const char *const values[3])
{
    for (size_t i = 0; i < 3 && values[i]; i++) {
        cr_assert_eq(field_list_add(fields, str_of(name), str_of(values[i])), 0);
    }
}

static void add_fields(struct field_list *fields, struct arena *arena, const struct framing_case *c)
{
    field_list_init(fields, arena);
    add_all(fields, "content-length", c->lengths);
    add_all(fields, "Transfer-encoding", c->codings);
}

static void check_result(const struct framing_case *c, size_t i, int error,
                         const struct framing *got)
{
    cr_assert_eq(error, c->error, "case %zu: %d, not %d", i, error, c->error);
    if (error) {
        cr_assert_eq(got->length, 77, "case %zu: the result was touched", i);
        cr_assert_gt(strlen(framing_error_text(error)), 0);
    } else {
        cr_assert_eq(got->kind, c->kind, "case %zu", i);
        cr_assert_eq(got->length, c->length, "case %zu", i);
    }
}

static void check_requests(enum method method, unsigned minor_version,
                           const struct framing_case *cases, size_t count)
{
    struct arena_pool pool;
    struct arena arena;

    arena_pool_init(&pool, NULL, NULL);
    arena_init(&arena, &pool);
    for (size_t i = 0; i < count; i++) {
        struct request request = {.method = method, .minor_version = minor_version};
        struct framing got = {.length = 77};
        int error;

        add_fields(&request.fields, &arena, &cases[i]);
        error = framing_of_request(&request, &got);
        check_result(&cases[i], i, error, &got);
    }
    arena_reset(&arena);
}

static void check_responses(unsigned status, unsigned minor_version, bool to_head, bool to_connect,
                            const struct framing_case *cases, size_t count)
{
    struct arena_pool pool;
    struct arena arena;

    arena_pool_init(&pool, NULL, NULL);
    arena_init(&arena, &pool);
    for (size_t i = 0; i < count; i++) {
        struct response response = {.status = status, .minor_version = minor_version};
        struct framing got = {.length = 77};
        int error;

        add_fields(&response.fields, &arena, &cases[i]);
        error = framing_of_response(&response, to_head, to_connect, &got);
        check_result(&cases[i], i, error, &got);
    }
    arena_reset(&arena);
}

static const struct framing_case lengths[] = {
    {.lengths = {"0"}, .kind = BODY_LENGTH, .length = 0},
    {.lengths = {"5"}, .kind = BODY_LENGTH, .length = 5},
    {.lengths = {" 5\t"}, .kind = BODY_LENGTH, .length = 5},
    {.lengths = {"0005"}, .kind = BODY_LENGTH, .length = 5},
    {.lengths = {"9223372036854775807"}, .kind = BODY_LENGTH, .length = INT64_MAX},
    {.lengths = {"9223372036854775808"}, .error = FRAMING_BAD_LENGTH},
    {.lengths = {"18446744073709551616"}, .error = FRAMING_BAD_LENGTH},
    {.lengths = {"18446744073709551621"}, .error = FRAMING_BAD_LENGTH},
    {.lengths = {""}, .error = FRAMING_BAD_LENGTH},
    {.lengths = {"+5"}, .error = FRAMING_BAD_LENGTH},
    {.lengths = {"-5"}, .error = FRAMING_BAD_LENGTH},
    {.lengths = {"0x5"}, .error = FRAMING_BAD_LENGTH},
    {.lengths = {"5;q"}, .error = FRAMING_BAD_LENGTH},
    {.lengths = {"5 5"}, .error = FRAMING_BAD_LENGTH},
    {.lengths = {"5,"}, .error = FRAMING_BAD_LENGTH},
    {.lengths = {"5, 5"}, .error = FRAMING_BAD_LENGTH},
    {.lengths = {"5, 6"}, .error = FRAMING_BAD_LENGTH},
    {.lengths = {"5", "5"}, .error = FRAMING_BAD_LENGTH},
    {.lengths = {"5", "6"}, .error = FRAMING_BAD_LENGTH},
    {.lengths = {"0", ""}, .error = FRAMING_BAD_LENGTH},
};

static const struct framing_case codings[] = {
    {.codings = {"chunked"}, .kind = BODY_CHUNKED},
    {.codings = {" Chunked\t"}, .kind = BODY_CHUNKED},
    {.codings = {""}, .error = FRAMING_BAD_TE},
    {.codings = {","}, .error = FRAMING_BAD_TE},
    {.codings = {"chunked,"}, .error = FRAMING_BAD_TE},
    {.codings = {", chunked"}, .error = FRAMING_BAD_TE},
    {.codings = {"chunked, chunked"}, .error = FRAMING_BAD_TE},
    {.codings = {"chunked", "chunked"}, .error = FRAMING_BAD_TE},
    {.codings = {"chunked, gzip"}, .error = FRAMING_BAD_TE},
    {.codings = {"chunked", "gzip"}, .error = FRAMING_BAD_TE},
    {.codings = {"chunked", ""}, .error = FRAMING_BAD_TE},
    {.codings = {"chunked;q=1"}, .error = FRAMING_BAD_TE},
    {.codings = {"chunked ;"}, .error = FRAMING_BAD_TE},
    {.codings = {"gzip"}, .error = FRAMING_UNKNOWN_CODING},
    {.codings = {"gzip;q=1"}, .error = FRAMING_UNKNOWN_CODING},
    {.codings = {"gzip, chunked"}, .error = FRAMING_UNKNOWN_CODING},
    {.codings = {"gzip", "chunked"}, .error = FRAMING_UNKNOWN_CODING},
    {.codings = {"identity"}, .error = FRAMING_UNKNOWN_CODING},
    {.codings = {"xchunked"}, .error = FRAMING_UNKNOWN_CODING},
    {.codings = {"chunked x"}, .error = FRAMING_UNKNOWN_CODING},
    {.codings = {"\"chunked\""}, .error = FRAMING_UNKNOWN_CODING},
    {.lengths = {"5"}, .codings = {"chunked"}, .error = FRAMING_LENGTH_AND_TE},
    {.lengths = {"0"}, .codings = {""}, .error = FRAMING_LENGTH_AND_TE},
    {.lengths = {"x"}, .codings = {"gzip"}, .error = FRAMING_LENGTH_AND_TE},
};

Test(framing, reads_requests)
{
    static const struct framing_case none = {.kind = BODY_NONE};

    check_requests(METHOD_POST, 1, lengths, ARRAY_LEN(lengths));
    check_requests(METHOD_GET, 1, codings, ARRAY_LEN(codings));
    check_requests(METHOD_POST, 1, &none, 1);
    check_requests(METHOD_POST, 0, lengths, ARRAY_LEN(lengths));
}

Test(framing, refuses_a_coding_in_1_0)
{
    static const struct framing_case cases[] = {
        {.codings = {"chunked"}, .error = FRAMING_TE_IN_1_0},
        {.codings = {"gzip"}, .error = FRAMING_TE_IN_1_0},
    };

    check_requests(METHOD_POST, 0, cases, ARRAY_LEN(cases));
    check_responses(200, 0, false, false, cases, ARRAY_LEN(cases));
}

Test(framing, refuses_content_on_connect_and_trace)
{
    static const struct framing_case cases[] = {
        {.kind = BODY_NONE},
        {.lengths = {"0"}, .kind = BODY_NONE},
        {.lengths = {"1"}, .error = FRAMING_BODY_NOT_ALLOWED},
        {.codings = {"chunked"}, .error = FRAMING_BODY_NOT_ALLOWED},
    };

    check_requests(METHOD_CONNECT, 1, cases, ARRAY_LEN(cases));
    check_requests(METHOD_TRACE, 1, cases, ARRAY_LEN(cases));
}

Test(framing, reads_responses)
{
    static const struct framing_case until_close = {.kind = BODY_UNTIL_CLOSE};

    check_responses(200, 1, false, false, lengths, ARRAY_LEN(lengths));
    check_responses(200, 1, false, false, codings, ARRAY_LEN(codings));
    check_responses(500, 0, false, false, lengths, ARRAY_LEN(lengths));
    check_responses(200, 1, false, false, &until_close, 1);
    check_responses(407, 1, false, true, &until_close, 1);
    check_responses(300, 1, false, true, lengths, ARRAY_LEN(lengths));
}

Test(framing, knows_responses_without_content)
{
    static const struct framing_case cases[] = {
        {.kind = BODY_NONE},
        {.lengths = {"5"}, .kind = BODY_NONE},
        {.codings = {"chunked"}, .kind = BODY_NONE},
    };
    static const unsigned statuses[] = {100, 101, 103, 199, 204, 304};

    for (size_t i = 0; i < ARRAY_LEN(statuses); i++) {
        check_responses(statuses[i], 1, false, false, cases, ARRAY_LEN(cases));
    }
    check_responses(200, 1, true, false, cases, ARRAY_LEN(cases));
    check_responses(404, 1, true, false, cases, ARRAY_LEN(cases));
    check_responses(200, 1, false, true, cases, ARRAY_LEN(cases));
    check_responses(299, 1, false, true, cases, ARRAY_LEN(cases));
}

Test(framing, unknown_error_has_a_sentence)
{
    cr_expect_gt(strlen(framing_error_text(0)), 0);
}
