// SPDX-License-Identifier: MIT
/* Responses: status lines, and where each ends by status, method and fields. */
#include "h1_cases.h"

#define OK "HTTP/1.1 200 OK\r\n"            /* 17 bytes */
#define CL(n) "Content-Length: " n "\r\n"   /* 19 for one digit */
#define TE "Transfer-Encoding: chunked\r\n" /* 28 */

Test(h1_parse_response, reads_status_lines)
{
    static const struct h1_case cases[] = {
        {IN(OK CL("0") "\r\n"), "200 [OK] 1.1 len:0 keep {Content-Length=0} END@38"},
        {IN("HTTP/1.1 200\r\n" CL("0") "\r\n"), "200 [] 1.1 len:0 keep {Content-Length=0} END@35"},
        {IN("HTTP/1.1 200 \r\n" CL("0") "\r\n"), "200 [] 1.1 len:0 keep {Content-Length=0} END@36"},
        {IN("HTTP/1.1 599 \tNot \xc3\xa9 : x \r\n" CL("0") "\r\n"),
         "599 [\tNot \xc3\xa9 : x ] 1.1 len:0 keep {Content-Length=0} END@48"},
        {IN("HTTP/1.0 404 Not Found\r\n" CL("0") "\r\n"),
         "404 [Not Found] 1.0 len:0 close {Content-Length=0} END@45"},
    };

    CHECK_RESPONSES(cases);
}

Test(h1_parse_response, refuses_bad_status_lines)
{
    static const struct h1_case cases[] = {
        {IN("\r\n" OK "\r\n"), "MALFORMED@0"},
        {IN("\n" OK "\r\n"), "MALFORMED@0"},
        {IN(" " OK "\r\n"), "MALFORMED@0"},
        {IN("http/1.1 200 OK\r\n\r\n"), "MALFORMED@0"},
        {IN("ICY 200 OK\r\n\r\n"), "MALFORMED@0"},
        {IN("RTSP/1.0 200 OK\r\n\r\n"), "MALFORMED@0"},
        {IN("SSH-2.0-OpenSSH\r\n"), "MALFORMED@0"},
        {IN("\x15\x03\x01\0\x02\x02\x28"), "MALFORMED@0"}, /* a TLS alert */
        {IN("<html>\r\n"), "MALFORMED@0"},
        {IN("HTTP/1.1  200 OK\r\n\r\n"), "MALFORMED@9"},
        {IN("HTTP/1.1\t200 OK\r\n\r\n"), "MALFORMED@8"},
        {IN("HTTP/1.1\r\n\r\n"), "MALFORMED@8"},
        {IN("HTTP/1.10 200 OK\r\n\r\n"), "MALFORMED@8"},
        {IN("HTTP/1 200 OK\r\n\r\n"), "MALFORMED@6"},
        {IN("HTTP/0.9 200 OK\r\n\r\n"), "VERSION@8"},
        {IN("HTTP/1.2 200 OK\r\n\r\n"), "VERSION@8"},
        {IN("HTTP/2.0 200 OK\r\n\r\n"), "VERSION@8"},
        {IN("HTTP/1.1 099 OK\r\n\r\n"), "MALFORMED@9"},
        {IN("HTTP/1.1 000 OK\r\n\r\n"), "MALFORMED@9"},
        {IN("HTTP/1.1 600 OK\r\n\r\n"), "MALFORMED@9"},
        {IN("HTTP/1.1 999 OK\r\n\r\n"), "MALFORMED@9"},
        {IN("HTTP/1.1 20 OK\r\n\r\n"), "MALFORMED@11"},
        {IN("HTTP/1.1 20\r\n\r\n"), "MALFORMED@11"},
        {IN("HTTP/1.1 2000 OK\r\n\r\n"), "MALFORMED@12"},
        {IN("HTTP/1.1 200OK\r\n\r\n"), "MALFORMED@12"},
        {IN("HTTP/1.1 -20 OK\r\n\r\n"), "MALFORMED@9"},
        {IN("HTTP/1.1 2x0 OK\r\n\r\n"), "MALFORMED@10"},
        {IN("HTTP/1.1 200\n\r\n"), "MALFORMED@12"},
        {IN("HTTP/1.1 200 OK\n\r\n"), "MALFORMED@15"},
        {IN("HTTP/1.1 200 OK\r\r\n\r\n"), "MALFORMED@16"},
        {IN("HTTP/1.1 200 O\rK\r\n\r\n"), "MALFORMED@15"},
        {IN("HTTP/1.1 200 O\0K\r\n\r\n"), "MALFORMED@14"},
        {IN("HTTP/1.1 200 O\x01K\r\n\r\n"), "MALFORMED@14"},
        {IN("HTTP/1.1 200 O\x7fK\r\n\r\n"), "MALFORMED@14"},
        {IN("HTTP/1.1 200 O\x1b[1mK\r\n\r\n"), "MALFORMED@14"},
    };

    CHECK_RESPONSES(cases);
}

Test(h1_parse_response, strips_blanks_before_the_colon)
{
    static const struct h1_case cases[] = {
        {IN(OK "A : b\r\nB\t \t:c\r\n" CL("0") "C  : d : e\r\n\r\n"),
         "200 [OK] 1.1 len:0 keep {A=b,B=c,Content-Length=0,C=d : e} END@65"},
        {IN(OK "Content-Length : 2\r\n\r\nhiX"),
         "200 [OK] 1.1 len:2 keep {Content-Length=2} 'hi' END@41"},
        {IN(OK "Transfer-Encoding\t: chunked\r\n\r\n0\r\nA : b\r\n\r\nX"),
         "200 [OK] 1.1 chunked keep {Transfer-Encoding=chunked} {A=b} END@60"},
        {IN(OK CL("2") "Transfer-Encoding : chunked\r\n\r\n"), "FRAMING@67"},
        {IN("HTTP/1.1 200 a : b\r\n" CL("0") "\r\n"),
         "200 [a : b] 1.1 len:0 keep {Content-Length=0} END@41"},
        {IN(OK " A : b\r\n\r\n"), "MALFORMED@27"},
        {IN(OK "A: b\r\n C : d\r\n\r\n"), "MALFORMED@33"},
        {IN(OK " : b\r\n\r\n"), "MALFORMED@25"},
        {IN(OK "A B : c\r\n\r\n"), "MALFORMED@28"},
    };

    CHECK_RESPONSES(cases);
}

Test(h1_parse_response, refuses_bad_fields)
{
    static const struct h1_case cases[] = {
        {IN(OK ": b\r\n\r\n"), "MALFORMED@24"},
        {IN(OK "A\r\n\r\n"), "MALFORMED@22"},
        {IN(OK "A: b\r\n c\r\n\r\n"), "MALFORMED@29"},
        {IN(OK "\tA: b\r\n\r\n"), "MALFORMED@26"},
        {IN(OK "A: b\n\r\n"), "MALFORMED@21"},
        {IN(OK "A: b\rB: c\r\n\r\n"), "MALFORMED@30"},
        {IN(OK "A: \0\r\n\r\n"), "MALFORMED@25"},
        {IN(OK "A: \x7f\r\n\r\n"), "MALFORMED@25"},
        {IN(OK "A\x01: b\r\n\r\n"), "MALFORMED@26"},
        {IN(OK "A\xff: b\r\n\r\n"), "MALFORMED@26"},
    };

    CHECK_RESPONSES(cases);
}

Test(h1_parse_response, ends_by_length)
{
    static const struct h1_case cases[] = {
        {IN(OK CL("2") "\r\nhi"), "200 [OK] 1.1 len:2 keep {Content-Length=2} 'hi' END@40"},
        {IN(OK CL("2") "\r\nhi!" OK), "200 [OK] 1.1 len:2 keep {Content-Length=2} 'hi' END@40"},
        {IN(OK CL("0") "\r\nhi"), "200 [OK] 1.1 len:0 keep {Content-Length=0} END@38"},
        {IN(OK CL("2") "\r\nh"),
         "200 [OK] 1.1 len:2 keep {Content-Length=2} 'h' MORE@39 eof:TRUNCATED", .eof = true},
        {IN(OK CL("2") "\r\n"), "200 [OK] 1.1 len:2 keep {Content-Length=2} MORE@38 eof:TRUNCATED",
         .eof = true},
        {IN(OK CL("2") "\r\nhi"), "200 [OK] 1.1 len:2 keep {Content-Length=2} 'hi' END@40 eof:MORE",
         .eof = true},
    };

    CHECK_RESPONSES(cases);
}

Test(h1_parse_response, ends_by_last_chunk)
{
    static const struct h1_case cases[] = {
        {IN(OK TE "\r\n2\r\nhi\r\n0\r\n\r\nX"),
         "200 [OK] 1.1 chunked keep {Transfer-Encoding=chunked} 'hi' END@59"},
        {IN(OK TE "\r\n2\r\nhi\r\n0\r\nA: b\r\n\r\nX"),
         "200 [OK] 1.1 chunked keep {Transfer-Encoding=chunked} 'hi' {A=b} END@65"},
        {IN(OK TE "Connection: close\r\n\r\n0\r\n\r\n" OK),
         "200 [OK] 1.1 chunked close {Transfer-Encoding=chunked,Connection=close} END@71"},
        {IN(OK TE "\r\n2\r\nhi\r\n"),
         "200 [OK] 1.1 chunked keep {Transfer-Encoding=chunked} 'hi' MORE@54 eof:TRUNCATED",
         .eof = true},
        {IN(OK TE "\r\n2\r\nh"),
         "200 [OK] 1.1 chunked keep {Transfer-Encoding=chunked} 'h' MORE@51 eof:TRUNCATED",
         .eof = true},
        {IN(OK TE "\r\n0\r\n"),
         "200 [OK] 1.1 chunked keep {Transfer-Encoding=chunked} MORE@50 eof:TRUNCATED",
         .eof = true},
        {IN(OK TE "\r\n2\r\nhiX"),
         "200 [OK] 1.1 chunked keep {Transfer-Encoding=chunked} 'hi' MALFORMED@52 eof:MALFORMED",
         .eof = true},
    };

    CHECK_RESPONSES(cases);
}

Test(h1_parse_response, ends_with_the_connection)
{
    static const struct h1_case cases[] = {
        {IN(OK "\r\nhi"), "200 [OK] 1.1 close close {} 'hi' MORE@21 eof:END", .eof = true},
        {IN(OK "\r\n"), "200 [OK] 1.1 close close {} MORE@19 eof:END", .eof = true},
        {IN(OK "Connection: keep-alive\r\n\r\n" OK),
         "200 [OK] 1.1 close close {Connection=keep-alive} 'HTTP/1.1 200 OK\r\n' MORE@60 eof:END",
         .eof = true},
        {IN("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n\r\nhi"),
         "200 [OK] 1.0 close close {Connection=keep-alive} 'hi' MORE@45 eof:END", .eof = true},
        {IN("HTTP/1.1 200 OK\r\nA"), "MORE@18 eof:TRUNCATED", .eof = true},
        {IN("H"), "MORE@1 eof:TRUNCATED", .eof = true},
    };
    static const struct h1_case nothing = {IN(""), "MORE@0 eof:MORE", .eof = true};
    static struct h1_run run;

    CHECK_RESPONSES(cases);
    h1_run_case(&run, H1_RESPONSES, &nothing, 0);
    cr_assert_str_eq(run.space, "MORE@0 eof:MORE");
}

Test(h1_parse_response, has_no_content_by_status_or_method)
{
    static const struct h1_case cases[] = {
        /* Whatever the fields say. Surplus stays untaken. */
        {IN("HTTP/1.1 204 N\r\n\r\nX"), "204 [N] 1.1 none keep {} END@18"},
        {IN("HTTP/1.1 304 N\r\n" CL("5") "\r\nhello"),
         "304 [N] 1.1 none keep {Content-Length=5} END@37"},
        {IN("HTTP/1.1 304 N\r\n" TE "\r\n0\r\n\r\n"),
         "304 [N] 1.1 none keep {Transfer-Encoding=chunked} END@46"},
        {IN(OK CL("5") "\r\nhello"), "200 [OK] 1.1 none keep {Content-Length=5} END@38",
         .to = METHOD_HEAD},
        {IN(OK TE "\r\n0\r\n\r\n"), "200 [OK] 1.1 none keep {Transfer-Encoding=chunked} END@47",
         .to = METHOD_HEAD},
        {IN(OK "\r\nX"), "200 [OK] 1.1 none keep {} END@19", .to = METHOD_HEAD},
        {IN("HTTP/1.0 200 OK\r\n\r\nX"), "200 [OK] 1.0 none close {} END@19", .to = METHOD_HEAD},
        {IN("HTTP/1.1 403 N\r\n" CL("5") "\r\n"),
         "403 [N] 1.1 none keep {Content-Length=5} END@37 eof:MORE", .to = METHOD_HEAD,
         .eof = true},
        /* Announced content where there can be none: do not trust what follows. */
        {IN("HTTP/1.1 204 N\r\n" CL("5") "\r\nhello"),
         "204 [N] 1.1 none close {Content-Length=5} END@37"},
        {IN("HTTP/1.1 204 N\r\n" TE "\r\n0\r\n\r\n"),
         "204 [N] 1.1 none close {Transfer-Encoding=chunked} END@46"},
        {IN("HTTP/1.1 204 N\r\n" CL("0") "\r\nX"),
         "204 [N] 1.1 none keep {Content-Length=0} END@37"},
    };

    CHECK_RESPONSES(cases);
}

Test(h1_parse_response, ends_at_once_on_connect_and_101)
{
    static const struct h1_case cases[] = {
        {IN(OK "\r\n\x16\x03"), "200 [OK] 1.1 none keep {} END@19", .to = METHOD_CONNECT},
        {IN("HTTP/1.0 200 OK\r\n\r\nraw"), "200 [OK] 1.0 none close {} END@19",
         .to = METHOD_CONNECT},
        {IN(OK CL("5") "\r\nhello"), "200 [OK] 1.1 none keep {Content-Length=5} END@38",
         .to = METHOD_CONNECT},
        {IN(OK TE "\r\n0\r\n\r\n"), "200 [OK] 1.1 none keep {Transfer-Encoding=chunked} END@47",
         .to = METHOD_CONNECT},
        {IN("HTTP/1.1 407 N\r\n" CL("2") "\r\nhi!"),
         "407 [N] 1.1 len:2 keep {Content-Length=2} 'hi' END@39", .to = METHOD_CONNECT},
        {IN("HTTP/1.1 502 N\r\n\r\nhi"), "502 [N] 1.1 close close {} 'hi' MORE@20 eof:END",
         .to = METHOD_CONNECT, .eof = true},
        {IN("HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nraw"),
         "101 [S] 1.1 none keep {Connection=upgrade,Upgrade=x} END@51"},
        {IN("HTTP/1.1 101 S\r\n\r\nraw"), "101 [S] 1.1 none keep {} END@18"},
        /* An Upgrade field elsewhere is an advertisement. */
        {IN(OK "Connection: upgrade\r\nUpgrade: h2c\r\n" CL("2") "\r\nhi"),
         "200 [OK] 1.1 len:2 keep {Connection=upgrade,Upgrade=h2c,Content-Length=2} 'hi' END@75"},
        {IN("HTTP/1.1 426 U\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\nhi"),
         "426 [U] 1.1 close close {Connection=upgrade,Upgrade=h2c} 'hi' MORE@55 eof:END",
         .eof = true},
    };

    CHECK_RESPONSES(cases);
}

Test(h1_parse_response, refuses_doubtful_framing)
{
    static const struct h1_case cases[] = {
        {IN(OK CL("5") CL("5") "\r\nhello"), "FRAMING@57"},
        {IN(OK CL("5") CL("6") "\r\nhello"), "FRAMING@57"},
        {IN(OK CL("5, 5") "\r\nhello"), "FRAMING@41"},
        {IN(OK CL("-5") "\r\nhello"), "FRAMING@39"},
        {IN(OK CL("") "\r\nhello"), "FRAMING@37"},
        {IN(OK CL("9223372036854775808") "\r\n"), "FRAMING@56"},
        {IN(OK CL("5") TE "\r\n"), "FRAMING@66"},
        {IN(OK TE CL("5") "\r\n"), "FRAMING@66"},
        {IN(OK TE TE "\r\n"), "FRAMING@75"},
        {IN(OK "Transfer-Encoding: chunked, gzip\r\n\r\n"), "FRAMING@53"},
        {IN(OK "Transfer-Encoding: gzip, chunked\r\n\r\n"), "CODING@53"},
        {IN(OK "Transfer-Encoding: gzip\r\n\r\n"), "CODING@44"},
        {IN(OK "Transfer-Encoding: identity\r\n\r\n"), "CODING@48"},
        {IN(OK "Transfer-Encoding:\r\n\r\n"), "FRAMING@39"},
        {IN(OK "Transfer-Encoding: chunked\t\r\n\r\n"), "FRAMING@48"},
        {IN("HTTP/1.0 200 OK\r\n" TE "\r\n"), "FRAMING@47"},
        /* llhttp looks before it knows that no body follows. */
        {IN(OK CL("5") TE "\r\n"), "FRAMING@66", .to = METHOD_HEAD},
    };

    CHECK_RESPONSES(cases);
}

Test(h1_parse_response, reads_persistence)
{
    static const struct h1_case cases[] = {
        {IN(OK CL("0") "Connection: close\r\n\r\n"),
         "200 [OK] 1.1 len:0 close {Content-Length=0,Connection=close} END@57"},
        {IN(OK CL("0") "Connection: keep-alive\r\nConnection: x, Close\r\n\r\n"),
         "200 [OK] 1.1 len:0 close {Content-Length=0,Connection=keep-alive,Connection=x, Close} "
         "END@84"},
        {IN("HTTP/1.0 200 OK\r\n" CL("0") "Connection: Keep-Alive\r\n\r\n"),
         "200 [OK] 1.0 len:0 keep {Content-Length=0,Connection=Keep-Alive} END@62"},
        {IN("HTTP/1.0 200 OK\r\n" CL("0") "Connection: keep-alive, close\r\n\r\n"),
         "200 [OK] 1.0 len:0 close {Content-Length=0,Connection=keep-alive, close} END@69"},
        {IN("HTTP/1.0 200 OK\r\n" CL("0") "Proxy-Connection: keep-alive\r\n\r\n"),
         "200 [OK] 1.0 len:0 close {Content-Length=0,Proxy-Connection=keep-alive} END@68"},
    };

    CHECK_RESPONSES(cases);
}

/* 100, 103, then the answer, all in one buffer: one message each. */
Test(h1_parse_response, ends_each_interim_response)
{
    static const char in[] = "HTTP/1.1 100 Continue\r\n\r\n"
                             "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" OK CL("2") "\r\nhi";
    static const unsigned statuses[] = {100, 103, 200};
    struct h1_limits limits = {.head_bytes = 200, .fields = 3};
    struct h1_parser *parser;
    struct arena_pool pool;
    struct arena arena;
    struct response response;
    size_t pos = 0;

    arena_pool_init(&pool, NULL, NULL);
    arena_init(&arena, &pool);
    cr_assert_eq(h1_parser_new_response(NULL, &parser), 0);
    for (size_t i = 0; i < ARRAY_LEN(statuses); i++) {
        enum h1_event event = H1_HEAD;
        size_t taken;
        struct str body;

        h1_parser_begin_response(parser, &limits, &arena, &response, METHOD_GET);
        cr_assert_eq(h1_parser_eof(parser), H1_MORE);
        while (event == H1_HEAD || event == H1_BODY) {
            event = h1_parser_next(parser, in + pos, sizeof(in) - 1 - pos, &taken, &body);
            pos += taken;
        }
        cr_assert_eq(event, H1_END);
        cr_assert_eq(response.status, statuses[i]);
        cr_assert_eq(response_is_interim(&response), i < 2);
    }
    cr_assert_eq(pos, sizeof(in) - 1);
    h1_parser_free(parser);
    arena_reset(&arena);
}
