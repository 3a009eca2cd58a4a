// SPDX-License-Identifier: MIT
/* Where a request ends: lengths, codings, chunks, trailers, and all that would smuggle. */
#include "h1_cases.h"

#define P "POST http://a/ HTTP/1.1\r\nHost: a\r\n" /* 34 bytes */
#define TE "Transfer-Encoding: chunked\r\n"        /* 28 */
#define CHUNKED P TE "\r\n"                        /* 64 */
#define HEAD "POST http://a/ 1.1 chunked keep {Host=a,Transfer-Encoding=chunked} "
#define NEXT "GET http://a/next HTTP/1.1\r\nHost: a\r\n\r\n"

Test(h1_parse_body, reads_lengths)
{
    static const struct h1_case cases[] = {
        {IN(P "Content-Length: 5\r\n\r\nhello"),
         "POST http://a/ 1.1 len:5 keep {Host=a,Content-Length=5} 'hello' END@60"},
        {IN(P "Content-Length: 5\r\n\r\nhello" NEXT),
         "POST http://a/ 1.1 len:5 keep {Host=a,Content-Length=5} 'hello' END@60"},
        {IN(P "content-length:\t 005 \r\n\r\nhello"),
         "POST http://a/ 1.1 len:5 keep {Host=a,content-length=005} 'hello' END@64"},
        {IN(P "Content-Length: 0\r\n\r\n" NEXT),
         "POST http://a/ 1.1 len:0 keep {Host=a,Content-Length=0} END@55"},
        {IN(P "\r\n" NEXT), "POST http://a/ 1.1 none keep {Host=a} END@36"},
        {IN(P "Content-Length: 9223372036854775807\r\n\r\nx"),
         "POST http://a/ 1.1 len:9223372036854775807 keep {Host=a,"
         "Content-Length=9223372036854775807} 'x' MORE@74"},
        {IN(P "Content-Length: 4\r\n\r\n\x01\r\n\xff"),
         "POST http://a/ 1.1 len:4 keep {Host=a,Content-Length=4} '\x01\r\n\xff' END@59"},
        {IN("POST http://a/ HTTP/1.0\r\nContent-Length: 2\r\n\r\nhi"),
         "POST http://a/ 1.0 len:2 close {Content-Length=2} 'hi' END@48"},
    };

    CHECK_REQUESTS(cases);
}

/* The head is whole when llhttp refuses: all of it is taken. */
/* clang-format off */
#define REFUSED(fields, error) {IN(P fields "\r\n0\r\n\r\n" NEXT), error}
/* clang-format on */

Test(h1_parse_body, refuses_decorated_and_repeated_lengths)
{
    static const struct h1_case cases[] = {
        REFUSED("Content-Length: +5\r\n", "FRAMING@56"),
        REFUSED("Content-Length: -5\r\n", "FRAMING@56"),
        REFUSED("Content-Length: 0x5\r\n", "FRAMING@57"),
        REFUSED("Content-Length: 5;q\r\n", "FRAMING@57"),
        REFUSED("Content-Length: 5 5\r\n", "FRAMING@57"),
        REFUSED("Content-Length: 5,\r\n", "FRAMING@56"),
        REFUSED("Content-Length: ,5\r\n", "FRAMING@56"),
        REFUSED("Content-Length: 5, 5\r\n", "FRAMING@58"),
        REFUSED("Content-Length: 5.0\r\n", "FRAMING@57"),
        REFUSED("Content-Length: 5e0\r\n", "FRAMING@57"),
        REFUSED("Content-Length: \"5\"\r\n", "FRAMING@57"),
        REFUSED("Content-Length: five\r\n", "FRAMING@58"),
        REFUSED("Content-Length:\r\n", "FRAMING@53"),
        REFUSED("Content-Length: \r\n", "FRAMING@54"),
        REFUSED("Content-Length: \xb2\r\n", "FRAMING@55"),
        REFUSED("Content-Length: 9223372036854775808\r\n", "FRAMING@73"),
        REFUSED("Content-Length: 18446744073709551615\r\n", "FRAMING@74"),
        REFUSED("Content-Length: 18446744073709551616\r\n", "FRAMING@74"),
        REFUSED("Content-Length: 18446744073709551621\r\n", "FRAMING@74"),
        REFUSED("Content-Length: 99999999999999999999999999999999\r\n", "FRAMING@86"),
        REFUSED("Content-Length: 5\r\nContent-Length: 5\r\n", "FRAMING@74"),
        REFUSED("Content-Length: 5\r\nContent-Length: 6\r\n", "FRAMING@74"),
        REFUSED("Content-Length: 5\r\nX: y\r\ncontent-length: 0\r\n", "FRAMING@80"),
        REFUSED("Content-Length: 5\v\r\n", "FRAMING@56"),
    };

    CHECK_REQUESTS(cases);
}

Test(h1_parse_body, refuses_length_beside_coding)
{
    static const struct h1_case cases[] = {
        REFUSED(TE "Content-Length: 5\r\n", "FRAMING@83"),
        REFUSED("Content-Length: 5\r\n" TE, "FRAMING@83"),
        REFUSED("content-LENGTH: 0\r\ntransfer-ENCODING: CHUNKED\r\n", "FRAMING@83"),
        REFUSED("Content-Length: 5\r\nX: y\r\n" TE, "FRAMING@89"),
        REFUSED("Content-Length: 5\r\nTransfer-Encoding: identity\r\n", "FRAMING@84"),
        REFUSED("Content-Length: 5\r\nTransfer-Encoding:\r\n", "FRAMING@75"),
        REFUSED("Transfer-Encoding:\r\nContent-Length: 5\r\n", "FRAMING@75"),
        REFUSED("Transfer-Encoding: x\r\nContent-Length: 5\r\n", "FRAMING@77"),
    };

    CHECK_REQUESTS(cases);
}

Test(h1_parse_body, refuses_codings_other_than_one_chunked)
{
    static const struct h1_case cases[] = {
        REFUSED("Transfer-Encoding: gzip\r\n", "CODING@61"),
        REFUSED("Transfer-Encoding: gzip, chunked\r\n", "CODING@70"),
        REFUSED("Transfer-Encoding: gzip\r\n" TE, "CODING@89"),
        REFUSED("Transfer-Encoding: identity\r\n", "CODING@65"),
        REFUSED("Transfer-Encoding: xchunked\r\n", "CODING@65"),
        REFUSED("Transfer-Encoding: chunkedx\r\n", "CODING@65"),
        REFUSED("Transfer-Encoding: chunked-x\r\n", "CODING@66"),
        REFUSED("Transfer-Encoding: \"chunked\"\r\n", "CODING@66"),
        REFUSED("Transfer-Encoding: x chunked\r\n", "CODING@66"),
        REFUSED("Transfer-Encoding: chunked, gzip\r\n", "FRAMING@70"),
        REFUSED("Transfer-Encoding: chunked, chunked\r\n", "FRAMING@73"),
        REFUSED(TE TE, "FRAMING@92"),
        REFUSED(TE "Transfer-Encoding: gzip\r\n", "FRAMING@89"),
        REFUSED(TE "Transfer-Encoding:\r\n", "FRAMING@84"),
        REFUSED("Transfer-Encoding:\r\n" TE, "FRAMING@84"),
        REFUSED("Transfer-Encoding:\r\n", "FRAMING@56"),
        REFUSED("Transfer-Encoding: ,chunked\r\n", "FRAMING@65"),
        REFUSED("Transfer-Encoding: chunked,\r\n", "FRAMING@65"),
        REFUSED("Transfer-Encoding: chunked;q=1\r\n", "FRAMING@68"),
        REFUSED("Transfer-Encoding: chunked ;\r\n", "FRAMING@66"),
        REFUSED("Transfer-Encoding: chunked\t\r\n", "FRAMING@65"),
        REFUSED("Transfer-Encoding: \x0b"
                "chunked\r\n",
                "MALFORMED@65"),
        REFUSED("Transfer-Encoding\x0b: chunked\r\n", "MALFORMED@65"),
        REFUSED("Transfer-Encoding: chunk\xc5\xbf"
                "ed\r\n",
                "CODING@66"),
        {IN("POST http://a/ HTTP/1.0\r\n" TE "\r\n0\r\n\r\n"), "FRAMING@55"},
        {IN("POST http://a/ HTTP/1.0\r\nConnection: keep-alive\r\n" TE "\r\n"), "FRAMING@79"},
    };

    CHECK_REQUESTS(cases);
}

/* Names that a lenient reader takes for the real ones are fields like any other, or refused. */
Test(h1_parse_body, is_not_misled_by_names_alike)
{
    static const struct h1_case cases[] = {
        {IN(P "Transfer_Encoding: chunked\r\nContent-Length: 0\r\n\r\n"),
         "POST http://a/ 1.1 len:0 keep {Host=a,Transfer_Encoding=chunked,Content-Length=0} "
         "END@83"},
        {IN(P "X-Transfer-Encoding: chunked\r\n\r\n"),
         "POST http://a/ 1.1 none keep {Host=a,X-Transfer-Encoding=chunked} END@66"},
        {IN(P "Transfer-Encodingx: chunked\r\n\r\n"),
         "POST http://a/ 1.1 none keep {Host=a,Transfer-Encodingx=chunked} END@65"},
        {IN(P "Content-Lengths: 5\r\n\r\n"),
         "POST http://a/ 1.1 none keep {Host=a,Content-Lengths=5} END@56"},
        {IN(P "TE: chunked\r\n\r\n"), "POST http://a/ 1.1 none keep {Host=a,TE=chunked} END@49"},
        {IN(P "X: y\rTransfer-Encoding: chunked\r\n\r\n"), "MALFORMED@69"},
    };

    CHECK_REQUESTS(cases);
}

Test(h1_parse_body, refuses_content_where_a_method_has_none)
{
    static const struct h1_case cases[] = {
        {IN("CONNECT a:1 HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"), "FRAMING@52"},
        {IN("CONNECT a:1 HTTP/1.1\r\nHost: a\r\n" TE "\r\n0\r\n\r\n"), "FRAMING@61"},
        {IN("TRACE http://a/ HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"), "FRAMING@56"},
        {IN("CONNECT a:1 HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\nraw"),
         "CONNECT a:1 1.1 none keep {Host=a,Content-Length=0} END@52"},
        {IN("GET http://a/ HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi"),
         "GET http://a/ 1.1 len:2 keep {Host=a,Content-Length=2} 'hi' END@56"},
    };

    CHECK_REQUESTS(cases);
}

Test(h1_parse_body, reads_chunks)
{
    static const struct h1_case cases[] = {
        {IN(CHUNKED "0\r\n\r\n" NEXT), HEAD "END@69"},
        {IN(CHUNKED "5\r\nhello\r\n0\r\n\r\n" NEXT), HEAD "'hello' END@79"},
        {IN(CHUNKED "3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n"), HEAD "'hello' END@84"},
        {IN(CHUNKED "a\r\n0123456789\r\nB\r\n\r\n0\r\n\r\n0\r\n\r\r\n0\r\n\r\n"),
         HEAD "'0123456789\r\n0\r\n\r\n0\r\n\r' END@100"},
        {IN(CHUNKED "0000000000000005\r\nhello\r\n0000\r\n\r\n"), HEAD "'hello' END@97"},
        {IN(P "transfer-encoding: \t Chunked  \r\n\r\n0\r\n\r\n"),
         "POST http://a/ 1.1 chunked keep {Host=a,transfer-encoding=Chunked} END@73"},
        /* Extensions are read past. */
        {IN(CHUNKED "5;a\r\nhello\r\n0;b=c\r\n\r\n"), HEAD "'hello' END@85"},
        {IN(CHUNKED "5;a=b;c=\"d;e\\\"\t\"\r\nhello\r\n0\r\n\r\n"), HEAD "'hello' END@94"},
    };

    CHECK_REQUESTS(cases);
}

Test(h1_parse_body, refuses_bad_chunk_sizes)
{
    static const struct h1_case cases[] = {
        {IN(CHUNKED "+5\r\nhello\r\n"), HEAD "MALFORMED@64"},
        {IN(CHUNKED "-5\r\nhello\r\n"), HEAD "MALFORMED@64"},
        {IN(CHUNKED "0x5\r\nhello\r\n"), HEAD "MALFORMED@65"},
        {IN(CHUNKED "x\r\nhello\r\n"), HEAD "MALFORMED@64"},
        {IN(CHUNKED "g\r\nhello\r\n"), HEAD "MALFORMED@64"},
        {IN(CHUNKED "5h\r\nhello\r\n"), HEAD "MALFORMED@65"},
        {IN(CHUNKED " 5\r\nhello\r\n"), HEAD "MALFORMED@64"},
        {IN(CHUNKED "\t5\r\nhello\r\n"), HEAD "MALFORMED@64"},
        {IN(CHUNKED "5 \r\nhello\r\n"), HEAD "MALFORMED@66"},
        {IN(CHUNKED "5\t\r\nhello\r\n"), HEAD "MALFORMED@66"},
        {IN(CHUNKED "5 ;a\r\nhello\r\n"), HEAD "MALFORMED@66"},
        {IN(CHUNKED "5,5\r\nhello\r\n"), HEAD "MALFORMED@65"},
        {IN(CHUNKED "5\0\r\nhello\r\n"), HEAD "MALFORMED@65"},
        {IN(CHUNKED "\r\nhello\r\n"), HEAD "MALFORMED@64"},
        {IN(CHUNKED ";a\r\nhello\r\n"), HEAD "MALFORMED@64"},
        {IN(CHUNKED "_5\r\nhello\r\n"), HEAD "MALFORMED@64"},
        /* 2^64 and more; zeros without end. */
        {IN(CHUNKED "10000000000000000\r\nhello\r\n"), HEAD "MALFORMED@81"},
        {IN(CHUNKED "10000000000000005\r\nhello\r\n"), HEAD "MALFORMED@81"},
        {IN(CHUNKED "fffffffffffffffff\r\nhello\r\n"), HEAD "MALFORMED@81"},
        {IN(CHUNKED "00000000000000000000000000000005\r\nhello\r\n"), HEAD "MALFORMED@82"},
        {IN(CHUNKED "1\r\nx\r\n00000000000000000000000000000000005\r\nhello\r\n"),
         HEAD "'x' MALFORMED@87"},
    };

    CHECK_REQUESTS(cases);
}

Test(h1_parse_body, refuses_chunk_lines_that_do_not_end_in_crlf)
{
    static const struct h1_case cases[] = {
        {IN(CHUNKED "5\nhello\r\n0\r\n\r\n"), HEAD "MALFORMED@66"},
        {IN(CHUNKED "5\rhello\r\n0\r\n\r\n"), HEAD "MALFORMED@66"},
        {IN(CHUNKED "5\r\r\nhello\r\n"), HEAD "MALFORMED@66"},
        {IN(CHUNKED "5\r\nhello\n0\r\n\r\n"), HEAD "'hello' MALFORMED@73"},
        {IN(CHUNKED "5\r\nhello\r0\r\n\r\n"), HEAD "'hello' MALFORMED@73"},
        {IN(CHUNKED "5\r\nhello0\r\n\r\n"), HEAD "'hello' MALFORMED@72"},
        {IN(CHUNKED "5\r\nhello!\r\n0\r\n\r\n"), HEAD "'hello' MALFORMED@72"},
        {IN(CHUNKED "5\r\nhello\r\n\r\n0\r\n\r\n"), HEAD "'hello' MALFORMED@74"},
        {IN(CHUNKED "0\n\r\n"), HEAD "MALFORMED@66"},
        {IN(CHUNKED "0\r\n\n"), HEAD "MALFORMED@67"},
        {IN(CHUNKED "0\r\n\r\r\n\r\n"), HEAD "MALFORMED@72"},
        {IN(CHUNKED "5;a\nhello\r\n0\r\n\r\n"), HEAD "MALFORMED@67"},
        {IN(CHUNKED "5;a=b\nhello\r\n0\r\n\r\n"), HEAD "MALFORMED@69"},
        {IN(CHUNKED "5;a=\"b\"\nhello\r\n0\r\n\r\n"), HEAD "MALFORMED@71"},
        {IN(CHUNKED "5;a\rb\r\nhello\r\n"), HEAD "MALFORMED@68"},
    };

    CHECK_REQUESTS(cases);
}

Test(h1_parse_body, refuses_bad_chunk_extensions)
{
    static const struct h1_case cases[] = {
        {IN(CHUNKED "5;\r\nhello\r\n"), HEAD "MALFORMED@67"},
        {IN(CHUNKED "5;\nhello\r\n"), HEAD "MALFORMED@66"},
        {IN(CHUNKED "5; a\r\nhello\r\n"), HEAD "MALFORMED@67"},
        {IN(CHUNKED "5;a b\r\nhello\r\n"), HEAD "MALFORMED@68"},
        {IN(CHUNKED "5;a\x01\r\nhello\r\n"), HEAD "MALFORMED@68"},
        {IN(CHUNKED "5;a\0\r\nhello\r\n"), HEAD "MALFORMED@68"},
        {IN(CHUNKED "5;a=b\0\r\nhello\r\n"), HEAD "MALFORMED@70"},
        {IN(CHUNKED "5;a=\"b\nhello\r\n"), HEAD "MALFORMED@71"},
        {IN(CHUNKED "5;a=\"b\r\n\"\r\nhello\r\n"), HEAD "MALFORMED@71"},
        {IN(CHUNKED "5;a=\"b\"x\r\nhello\r\n"), HEAD "MALFORMED@71"},
    };

    CHECK_REQUESTS(cases);
}

Test(h1_parse_body, reads_trailers)
{
    static const struct h1_case cases[] = {
        {IN(CHUNKED "0\r\nA: b\r\n\r\n" NEXT), HEAD "{A=b} END@75"},
        {IN(CHUNKED "1\r\nx\r\n0\r\nA: b\r\nC:\r\nA: \xff \r\n\r\n" NEXT),
         HEAD "'x' {A=b,C=,A=\xff} END@92"},
        {IN(CHUNKED "0\r\nHost: evil\r\nConnection: close\r\n\r\n"),
         HEAD "{Host=evil,Connection=close} END@100"},
        {IN(CHUNKED "0\r\nContent-Length: 5\r\n\r\n"), HEAD "FRAMING@88"},
        {IN(CHUNKED "0\r\n" TE "\r\n"), HEAD "FRAMING@97"},
        {IN(CHUNKED "0\r\nA : b\r\n\r\n"), HEAD "MALFORMED@76"},
        {IN(CHUNKED "0\r\n A: b\r\n\r\n"), HEAD "MALFORMED@76"},
        {IN(CHUNKED "0\r\nA: b\r\n c\r\n\r\n"), HEAD "MALFORMED@79"},
        {IN(CHUNKED "0\r\nA: b\n\r\n"), HEAD "MALFORMED@71"},
        {IN(CHUNKED "0\r\nA: b\rC: d\r\n\r\n"), HEAD "MALFORMED@80"},
        {IN(CHUNKED "0\r\nA: \0\r\n\r\n"), HEAD "MALFORMED@75"},
        {IN(CHUNKED "0\r\n: b\r\n\r\n"), HEAD "MALFORMED@74"},
        {IN(CHUNKED "0\r\nGET / HTTP/1.1\r\n\r\n"), HEAD "MALFORMED@85"},
    };

    CHECK_REQUESTS(cases);
}

Test(h1_parse_body, tells_a_cut_body)
{
    static const struct h1_case cases[] = {
        {IN(P "Content-Length: 5\r\n\r\n"),
         "POST http://a/ 1.1 len:5 keep {Host=a,Content-Length=5} MORE@55 eof:TRUNCATED",
         .eof = true},
        {IN(P "Content-Length: 5\r\n\r\nhell"),
         "POST http://a/ 1.1 len:5 keep {Host=a,Content-Length=5} 'hell' MORE@59 eof:TRUNCATED",
         .eof = true},
        {IN(CHUNKED), HEAD "MORE@64 eof:TRUNCATED", .eof = true},
        {IN(CHUNKED "5"), HEAD "MORE@65 eof:TRUNCATED", .eof = true},
        {IN(CHUNKED "5\r\n"), HEAD "MORE@67 eof:TRUNCATED", .eof = true},
        {IN(CHUNKED "5\r\nhello"), HEAD "'hello' MORE@72 eof:TRUNCATED", .eof = true},
        {IN(CHUNKED "5\r\nhello\r\n"), HEAD "'hello' MORE@74 eof:TRUNCATED", .eof = true},
        {IN(CHUNKED "0\r\n"), HEAD "MORE@67 eof:TRUNCATED", .eof = true},
        {IN(CHUNKED "0\r\n\r"), HEAD "MORE@68 eof:TRUNCATED", .eof = true},
        {IN(CHUNKED "0\r\nA: b\r\n"), HEAD "MORE@73 eof:TRUNCATED", .eof = true},
        {IN(CHUNKED "0\r\n\r\n"), HEAD "END@69 eof:MORE", .eof = true},
    };

    CHECK_REQUESTS(cases);
}

/* What goes past the parser counts as if it had seen it. */
Test(h1_parse_body, counts_what_it_does_not_see)
{
    static const struct h1_limits limits = {.head_bytes = 4096, .target_bytes = 1024, .fields = 20};
    static const char head[] = P "Content-Length: 10\r\n\r\n";
    struct arena_pool pool;
    struct arena arena;
    struct h1_parser *parser;
    struct request request;
    struct str body;
    size_t taken;

    arena_pool_init(&pool, NULL, NULL);
    arena_init(&arena, &pool);
    cr_assert_eq(h1_parser_new_request(NULL, &parser), 0);
    h1_parser_begin_request(parser, &limits, &arena, &request);
    cr_expect_eq(h1_parser_plain_left(parser), 0);
    cr_assert_eq(h1_parser_next(parser, head, sizeof(head) - 1, &taken, &body), H1_HEAD);
    cr_expect_eq(h1_parser_plain_left(parser), 10);
    h1_parser_skip_body(parser, 4);
    cr_expect_eq(h1_parser_plain_left(parser), 6);
    cr_expect_eq(h1_parser_next(parser, NULL, 0, &taken, &body), H1_MORE);
    cr_expect_eq(h1_parser_next(parser, "abc", 3, &taken, &body), H1_BODY);
    h1_parser_skip_body(parser, 3);
    cr_expect_eq(h1_parser_plain_left(parser), 0);
    cr_expect_eq(h1_parser_next(parser, "next", 4, &taken, &body), H1_END);
    cr_expect_eq(taken, 0);
    h1_parser_free(parser);
    arena_reset(&arena);
}

Test(h1_parse_body, is_cut_short_when_too_little_went_past_it)
{
    static const struct h1_limits limits = {.head_bytes = 4096, .target_bytes = 1024, .fields = 20};
    static const char *const heads[] = {"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n",
                                        "HTTP/1.1 200 OK\r\n\r\n",
                                        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"};
    static const uint64_t left[] = {10, UINT64_MAX, 0};
    static const enum h1_event want[] = {H1_ERROR, H1_END, H1_ERROR};

    for (size_t i = 0; i < ARRAY_LEN(heads); i++) {
        struct arena_pool pool;
        struct arena arena;
        struct h1_parser *parser;
        struct response response;
        struct str body;
        size_t taken;

        arena_pool_init(&pool, NULL, NULL);
        arena_init(&arena, &pool);
        cr_assert_eq(h1_parser_new_response(NULL, &parser), 0);
        h1_parser_begin_response(parser, &limits, &arena, &response, METHOD_GET);
        cr_assert_eq(h1_parser_next(parser, heads[i], strlen(heads[i]), &taken, &body), H1_HEAD);
        cr_expect_eq(h1_parser_plain_left(parser), left[i]);
        if (left[i] > 0) {
            h1_parser_skip_body(parser, 9);
        }
        cr_expect_eq(h1_parser_eof(parser), want[i]);
        h1_parser_free(parser);
        arena_reset(&arena);
    }
}
