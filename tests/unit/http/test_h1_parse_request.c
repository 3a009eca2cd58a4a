// SPDX-License-Identifier: MIT
/* Request heads: what is a request line, what is a field, which host. */
#include "h1_cases.h"

#define G "GET http://a/ HTTP/1.1\r\n"
#define H "Host: a\r\n"
#define GH G H

Test(h1_parse_request, reads_heads)
{
    static const struct h1_case cases[] = {
        {IN(GH "\r\n"), "GET http://a/ 1.1 none keep {Host=a} END@35"},
        {IN("GET http://a/ HTTP/1.0\r\n\r\n"), "GET http://a/ 1.0 none close {} END@26"},
        {IN("GET /x HTTP/1.1\r\n" H "\r\n"), "GET /x 1.1 none keep {Host=a} END@28"},
        {IN("OPTIONS * HTTP/1.1\r\n" H "\r\n"), "OPTIONS * 1.1 none keep {Host=a} END@31"},
        {IN("CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n"),
         "CONNECT a:443 1.1 none keep {Host=a:443} END@39"},
        {IN("CONNECT [::1]:443 HTTP/1.1\r\nHost: [::1]\r\n\r\n"),
         "CONNECT [::1]:443 1.1 none keep {Host=[::1]} END@43"},
        {IN("GET http://u:p@a:80/p?q=1&r#f HTTP/1.1\r\n" H "\r\n"),
         "GET http://u:p@a:80/p?q=1&r#f 1.1 none keep {Host=a} END@51"},
        {IN("GET ftp://a/ HTTP/1.1\r\n" H "\r\n"), "GET ftp://a/ 1.1 none keep {Host=a} END@34"},
        /* Order, repetition, case, odd but legal names, empty values, blanks around values. */
        {IN(GH "b: 1\r\nB: 2\r\nb: 1\r\n\r\n"),
         "GET http://a/ 1.1 none keep {Host=a,b=1,B=2,b=1} END@53"},
        {IN(GH "!#$%&'*+-.^_`|~09azAZ: x\r\n\r\n"),
         "GET http://a/ 1.1 none keep {Host=a,!#$%&'*+-.^_`|~09azAZ=x} END@61"},
        {IN(GH "A:\r\nB: \r\nC:\t \t\r\nD:x\r\nE: \t x y\tz\t \r\n\r\n"),
         "GET http://a/ 1.1 none keep {Host=a,A=,B=,C=,D=x,E=x y\tz} END@70"},
        {IN(GH "A: \x80\xff\r\n\r\n"), "GET http://a/ 1.1 none keep {Host=a,A=\x80\xff} END@42"},
        {IN(GH "A: b:c, \"d\r\n\r\n"), "GET http://a/ 1.1 none keep {Host=a,A=b:c, \"d} END@47"},
    };

    CHECK_REQUESTS(cases);
}

Test(h1_parse_request, skips_a_few_empty_lines)
{
    static const struct h1_case cases[] = {
        {IN("\r\n" GH "\r\n"), "GET http://a/ 1.1 none keep {Host=a} END@37"},
        {IN("\r\n\r\n\r\n\r\n" GH "\r\n"), "GET http://a/ 1.1 none keep {Host=a} END@43"},
        {IN("\r\n\r\n\r\n\r\n\r\n" GH "\r\n"), "MALFORMED@8"},
        {IN("\n" GH "\r\n"), "MALFORMED@0"},
        {IN("\r\r\n" GH "\r\n"), "MALFORMED@1"},
        {IN("\rGET"), "MALFORMED@1"},
        {IN(" " GH "\r\n"), "MALFORMED@0"},
        {IN("\r\n"), "MORE@2 eof:MORE", .eof = true},
        {IN("\r"), "MORE@1 eof:MORE", .eof = true},
    };

    CHECK_REQUESTS(cases);
}

Test(h1_parse_request, takes_every_method_of_the_library)
{
    static const char *const methods[] = {
        "DELETE",   "GET",   "HEAD",     "POST",   "PUT",       "OPTIONS",     "TRACE",
        "COPY",     "LOCK",  "MKCOL",    "MOVE",   "PROPFIND",  "PROPPATCH",   "SEARCH",
        "UNLOCK",   "BIND",  "REBIND",   "UNBIND", "ACL",       "REPORT",      "MKACTIVITY",
        "CHECKOUT", "MERGE", "M-SEARCH", "NOTIFY", "SUBSCRIBE", "UNSUBSCRIBE", "PATCH",
        "PURGE",    "LINK",  "UNLINK",   "SOURCE", "QUERY",     "MKCALENDAR",
    };

    for (size_t i = 0; i < ARRAY_LEN(methods); i++) {
        char in[100];
        char want[100];
        struct h1_case c = {.want = want};

        snprintf(in, sizeof(in), "%s http://a/ HTTP/1.1\r\nHost: a\r\n\r\n", methods[i]);
        snprintf(want, sizeof(want), "%s http://a/ 1.1 none keep {Host=a} END@%zu", methods[i],
                 strlen(in));
        c.in = str_of(in);
        h1_check(H1_REQUESTS, &c);
    }
}

Test(h1_parse_request, refuses_other_methods)
{
    static const struct h1_case cases[] = {
        {IN("BREW http://a/ HTTP/1.1\r\n" H "\r\n"), "METHOD@36"},
        {IN("get http://a/ HTTP/1.1\r\n" H "\r\n"), "METHOD@35"},
        {IN("GETX http://a/ HTTP/1.1\r\n" H "\r\n"), "METHOD@36"},
        {IN("GE http://a/ HTTP/1.1\r\n" H "\r\n"), "METHOD@34"},
        {IN("DESCRIBE http://a/ HTTP/1.1\r\n" H "\r\n"), "METHOD@40"},
        {IN("PLAY http://a/ HTTP/1.1\r\n" H "\r\n"), "METHOD@36"},
        {IN("FLUSH http://a/ HTTP/1.1\r\n" H "\r\n"), "METHOD@37"},
        {IN("PRI * HTTP/1.1\r\n\r\n"), "METHOD@18"},
        {IN("!#$%&'*+-.^_`|~ http://a/ HTTP/1.1\r\n" H "\r\n"), "METHOD@47"},
        {IN("G\x01T http://a/ HTTP/1.1\r\n" H "\r\n"), "MALFORMED@1"},
        {IN("G\0T http://a/ HTTP/1.1\r\n" H "\r\n"), "MALFORMED@1"},
        {IN("G(T http://a/ HTTP/1.1\r\n" H "\r\n"), "MALFORMED@1"},
        {IN("G\xc3\x89T http://a/ HTTP/1.1\r\n" H "\r\n"), "MALFORMED@1"},
        {IN("GET\r\n"), "MALFORMED@3"},
        {IN("GET\thttp://a/ HTTP/1.1\r\n"), "MALFORMED@3"},
        {IN("\x16\x03\x01\x02\0\x01"), "MALFORMED@0"}, /* TLS */
        {IN("\x05\x01\0"), "MALFORMED@0"},             /* SOCKS */
    };

    CHECK_REQUESTS(cases);
}

Test(h1_parse_request, refuses_bad_targets)
{
    static const struct h1_case cases[] = {
        {IN("GET  http://a/ HTTP/1.1\r\n" H "\r\n"), "MALFORMED@4"},
        {IN("GET \thttp://a/ HTTP/1.1\r\n"), "MALFORMED@4"},
        {IN("GET http://a/  HTTP/1.1\r\n" H "\r\n"), "MALFORMED@14"},
        {IN("GET http://a/\tHTTP/1.1\r\n"), "MALFORMED@13"},
        {IN("GET http://a/ b HTTP/1.1\r\n"), "MALFORMED@14"},
        {IN("GET http://a/\x01 HTTP/1.1\r\n"), "MALFORMED@13"},
        {IN("GET http://a/\0 HTTP/1.1\r\n"), "MALFORMED@13"},
        {IN("GET http://a/\x7f HTTP/1.1\r\n"), "MALFORMED@13"},
        {IN("GET http://a/\x0b HTTP/1.1\r\n"), "MALFORMED@13"},
        {IN("GET http://a/\rb HTTP/1.1\r\n"), "MALFORMED@14"},
        {IN("GET http://a/\r\rb HTTP/1.1\r\n"), "MALFORMED@14"},
        {IN("GET http://a/\xc3\xa9 HTTP/1.1\r\n" H "\r\n"), "MALFORMED@37"},
        {IN("GET a HTTP/1.1\r\n" H "\r\n"), "MALFORMED@27"},
        {IN("GET  HTTP/1.1\r\n" H "\r\n"), "MALFORMED@4"},
        {IN("CONNECT a:443@ HTTP/1.1 \r\n"), "MALFORMED@23"},
    };

    CHECK_REQUESTS(cases);
}

Test(h1_parse_request, refuses_other_versions)
{
    static const struct h1_case cases[] = {
        {IN("GET http://a/\r\n"), "VERSION@14"},
        {IN("GET http://a/\r\n" H "\r\n"), "VERSION@14"}, /* llhttp takes it for 0.9 */
        {IN("CONNECT a:443\r\n"), "VERSION@14"},
        {IN("GET http://a/\n"), "MALFORMED@13"},
        {IN("GET http://a/\n" H "\r\n"), "MALFORMED@13"},
        {IN("GET http://a/ HTTP/0.9\r\n" H "\r\n"), "VERSION@22"},
        {IN("GET http://a/ HTTP/1.2\r\n" H "\r\n"), "VERSION@22"},
        {IN("GET http://a/ HTTP/2.0\r\n" H "\r\n"), "VERSION@22"},
        {IN("GET http://a/ HTTP/9.9\r\n" H "\r\n"), "VERSION@22"},
        {IN("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), "VERSION@14"},
        {IN("GET http://a/ http/1.1\r\n" H "\r\n"), "MALFORMED@14"},
        {IN("GET http://a/ HTTp/1.1\r\n" H "\r\n"), "MALFORMED@17"},
        {IN("GET http://a/ HTTP/1\r\n" H "\r\n"), "MALFORMED@20"},
        {IN("GET http://a/ HTTP/11\r\n" H "\r\n"), "MALFORMED@20"},
        {IN("GET http://a/ HTTP/1.10\r\n" H "\r\n"), "MALFORMED@22"},
        {IN("GET http://a/ HTTP/01.1\r\n" H "\r\n"), "MALFORMED@20"},
        {IN("GET http://a/ HTTP/1,1\r\n" H "\r\n"), "MALFORMED@20"},
        {IN("GET http://a/ HTTP/+.1\r\n" H "\r\n"), "MALFORMED@19"},
        {IN("GET http://a/ HTTP/1.\x01\r\n" H "\r\n"), "MALFORMED@21"},
        {IN("GET http://a/ HTTP/1.1 \r\n" H "\r\n"), "MALFORMED@22"},
        {IN("GET http://a/ HTTP/1.1\t\r\n" H "\r\n"), "MALFORMED@22"},
        {IN("GET http://a/ HTTP/1.1\0\r\n" H "\r\n"), "MALFORMED@22"},
        {IN("GET http://a/ HTTPS/1.1\r\n" H "\r\n"), "MALFORMED@18"},
        {IN("GET http://a/ RTSP/1.0\r\n" H "\r\n"), "MALFORMED@14"},
        {IN("SOURCE http://a/ ICE/1.0\r\n" H "\r\n"), "MALFORMED@17"},
        {IN("GET http://a/ \r\n" H "\r\n"), "MALFORMED@14"},
    };

    CHECK_REQUESTS(cases);
}

Test(h1_parse_request, refuses_lines_that_do_not_end_in_crlf)
{
    static const struct h1_case cases[] = {
        {IN("GET http://a/ HTTP/1.1\n" H "\r\n"), "MALFORMED@22"},
        {IN("GET http://a/ HTTP/1.1\r" H "\r\n"), "MALFORMED@23"},
        {IN("GET http://a/ HTTP/1.1\r\r\n" H "\r\n"), "MALFORMED@23"},
        {IN(G "Host: a\n\r\n"), "MALFORMED@31"},
        {IN(GH "\n"), "MALFORMED@33"},
        {IN(GH "A: b\n\n"), "MALFORMED@37"},
        {IN(GH "A: b\nX: y\r\n\r\n"), "MALFORMED@37"},
        {IN(GH "A: b\rX: y\r\n\r\n"), "MALFORMED@46"},
        {IN(GH "A: b\r\r\n\r\n"), "MALFORMED@42"},
        {IN(GH "\rA: b\r\n\r\n"), "MALFORMED@42"},
        {IN(GH "\r\r\n\r\n"), "MALFORMED@38"},
        {IN(GH "A:\rb\r\n\r\n"), "MALFORMED@41"},
        {IN(GH "A\r: b\r\n\r\n"), "MALFORMED@42"},
    };

    CHECK_REQUESTS(cases);
}

Test(h1_parse_request, refuses_bad_field_lines)
{
    static const struct h1_case cases[] = {
        {IN(GH "A : b\r\n\r\n"), "MALFORMED@42"},
        {IN(GH "A\t: b\r\n\r\n"), "MALFORMED@42"},
        {IN(G "Host : a\r\n\r\n"), "MALFORMED@36"},
        {IN(GH "Content-Length : 5\r\n\r\n"), "MALFORMED@55"},
        {IN(GH "Transfer-Encoding : chunked\r\n\r\n"), "MALFORMED@64"},
        {IN(GH "Transfer-Encoding\t: chunked\r\n\r\n"), "MALFORMED@64"},
        {IN(GH "A b: c\r\n\r\n"), "MALFORMED@43"},
        {IN(GH ": b\r\n\r\n"), "MALFORMED@40"},
        {IN(GH " : b\r\n\r\n"), "MALFORMED@41"},
        {IN(GH "A\r\n\r\n"), "MALFORMED@38"},
        {IN(GH "A b\r\n\r\n"), "MALFORMED@40"},
        {IN(GH "A\x80: b\r\n\r\n"), "MALFORMED@42"},
        {IN(GH "A\0: b\r\n\r\n"), "MALFORMED@42"},
        {IN(GH "A\x01: b\r\n\r\n"), "MALFORMED@42"},
        {IN(GH "A\x7f: b\r\n\r\n"), "MALFORMED@42"},
        {IN(GH "A(: b\r\n\r\n"), "MALFORMED@42"},
        {IN(GH "A: b\0c\r\n\r\n"), "MALFORMED@43"},
        {IN(GH "A: b\x01\r\n\r\n"), "MALFORMED@42"},
        {IN(GH "A: \x0b\r\n\r\n"), "MALFORMED@41"},
        {IN(GH "A: b\x7f\r\n\r\n"), "MALFORMED@42"},
        {IN(GH "A: \0\r\n\r\n"), "MALFORMED@41"},
        /* Leading blanks and obs-fold. */
        {IN(G " " H "\r\n"), "MALFORMED@36"},
        {IN(G "\t" H "\r\n"), "MALFORMED@36"},
        {IN(G " \r\n" H "\r\n"), "MALFORMED@38"},
        {IN(GH "A: b\r\n c\r\n\r\n"), "MALFORMED@45"},
        {IN(GH "A: b\r\n\tc\r\n\r\n"), "MALFORMED@45"},
        {IN(GH "A:\r\n b\r\n\r\n"), "MALFORMED@43"},
        {IN(GH "A: b\r\n \r\n\r\n"), "MALFORMED@44"},
        {IN(GH "Transfer-Encoding:\r\n chunked\r\n\r\n"), "MALFORMED@65"},
        {IN(GH "Connection: close,\r\n x\r\n\r\n"), "MALFORMED@59"},
    };

    CHECK_REQUESTS(cases);
}

Test(h1_parse_request, wants_one_valid_host)
{
    static const struct h1_case cases[] = {
        {IN(G "\r\n"), "HOST@26"},
        {IN(GH H "\r\n"), "HOST@44"},
        {IN(GH "host: b\r\n\r\n"), "HOST@44"},
        {IN("GET http://a/ HTTP/1.0\r\n" H H "\r\n"), "HOST@44"},
        {IN("GET http://a/ HTTP/1.0\r\nHost: a b\r\n\r\n"), "HOST@37"},
        {IN("GET http://a/ HTTP/1.0\r\n" H "\r\n"), "GET http://a/ 1.0 none close {Host=a} END@35"},
        {IN(G "Host: a, b\r\n\r\n"), "HOST@38"},
        {IN(G "Host: a b\r\n\r\n"), "HOST@37"},
        {IN(G "Host: u@a\r\n\r\n"), "HOST@37"},
        {IN(G "Host: a/b\r\n\r\n"), "HOST@37"},
        {IN(G "Host: a:b\r\n\r\n"), "HOST@37"},
        {IN(G "Host: a:65536\r\n\r\n"), "HOST@41"},
        {IN(G "Host: http://a\r\n\r\n"), "HOST@42"},
        {IN(G "Host: \xc3\xa9\r\n\r\n"), "HOST@36"},
        {IN(G "Host: [::1\r\n\r\n"), "HOST@38"},
        {IN(G "Host: :80\r\n\r\n"), "HOST@37"},
        {IN(G "Host:\r\n\r\n"), "HOST@33"},
        {IN("CONNECT a:443 HTTP/1.1\r\nHost: \r\n\r\n"), "HOST@34"},
        {IN("OPTIONS * HTTP/1.1\r\nHost:\r\n\r\n"), "OPTIONS * 1.1 none keep {Host=} END@29"},
        {IN("GET / HTTP/1.1\r\nHost: \r\n\r\n"), "GET / 1.1 none keep {Host=} END@26"},
        {IN(G "Host: other.example:8080 \r\n\r\n"),
         "GET http://a/ 1.1 none keep {Host=other.example:8080} END@53"},
        {IN(G "HOST: A_B.\r\n\r\n"), "GET http://a/ 1.1 none keep {HOST=A_B.} END@38"},
        {IN(G "Host: [2001:db8::1]:80\r\n\r\n"),
         "GET http://a/ 1.1 none keep {Host=[2001:db8::1]:80} END@50"},
    };

    CHECK_REQUESTS(cases);
}

Test(h1_parse_request, reads_persistence)
{
    static const struct h1_case cases[] = {
        {IN(GH "Connection: close\r\n\r\n"),
         "GET http://a/ 1.1 none close {Host=a,Connection=close} END@54"},
        {IN(GH "Connection: Keep-Alive,CLOSE\r\n\r\n"),
         "GET http://a/ 1.1 none close {Host=a,Connection=Keep-Alive,CLOSE} END@65"},
        {IN(GH "connection: x\r\nConnection: , close ,\r\n\r\n"),
         "GET http://a/ 1.1 none close {Host=a,connection=x,Connection=, close ,} END@73"},
        {IN(GH "Connection: closed, x-close\r\n\r\n"),
         "GET http://a/ 1.1 none keep {Host=a,Connection=closed, x-close} END@64"},
        {IN(GH "Proxy-Connection: close\r\n\r\n"),
         "GET http://a/ 1.1 none keep {Host=a,Proxy-Connection=close} END@60"},
        /* RFC 9112 9.3: not from a 1.0 client of a proxy. */
        {IN("GET http://a/ HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"),
         "GET http://a/ 1.0 none close {Connection=keep-alive} END@50"},
    };

    CHECK_REQUESTS(cases);
}

Test(h1_parse_request, reads_expect_and_upgrade)
{
    static const struct h1_case cases[] = {
        {IN(GH "Expect: 100-Continue\r\nContent-Length: 2\r\n\r\nab"),
         "GET http://a/ 1.1 len:2 keep+expect {Host=a,Expect=100-Continue,Content-Length=2} 'ab' "
         "END@78"},
        {IN("GET http://a/ HTTP/1.0\r\nExpect: 100-continue\r\n\r\n"),
         "GET http://a/ 1.0 none close {Expect=100-continue} END@48"},
        {IN(GH "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\nraw"),
         "GET http://a/ 1.1 none keep+upgrade {Host=a,Connection=Upgrade,Upgrade=websocket} "
         "END@76"},
        {IN(GH "Upgrade: websocket\r\n\r\n"),
         "GET http://a/ 1.1 none keep {Host=a,Upgrade=websocket} END@55"},
        {IN(GH "Connection: upgrade\r\n\r\n"),
         "GET http://a/ 1.1 none keep {Host=a,Connection=upgrade} END@56"},
        {IN("GET http://a/ HTTP/1.0\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"),
         "GET http://a/ 1.0 none close {Connection=upgrade,Upgrade=x} END@59"},
        {IN("CONNECT a:1 HTTP/1.1\r\n" H "Connection: upgrade\r\nUpgrade: x\r\n\r\nraw"),
         "CONNECT a:1 1.1 none keep {Host=a,Connection=upgrade,Upgrade=x} END@66"},
        /* An upgrade request may have a body. */
        {IN(GH "Connection: upgrade\r\nUpgrade: x\r\nContent-Length: 2\r\n\r\nabraw"),
         "GET http://a/ 1.1 len:2 keep+upgrade {Host=a,Connection=upgrade,Upgrade=x,"
         "Content-Length=2} 'ab' END@89"},
        {IN(GH "Connection: upgrade\r\nUpgrade: x\r\nTransfer-Encoding: chunked\r\n\r\n"
               "1\r\na\r\n0\r\n\r\nraw"),
         "GET http://a/ 1.1 chunked keep+upgrade {Host=a,Connection=upgrade,Upgrade=x,"
         "Transfer-Encoding=chunked} 'a' END@107"},
    };

    CHECK_REQUESTS(cases);
}

Test(h1_parse_request, leaves_what_follows_untaken)
{
    static const struct h1_case cases[] = {
        {IN(GH "\r\n" GH "\r\n"), "GET http://a/ 1.1 none keep {Host=a} END@35"},
        {IN(GH "\r\n\0\1\2"), "GET http://a/ 1.1 none keep {Host=a} END@35"},
        {IN(GH "\r\n\r\n"), "GET http://a/ 1.1 none keep {Host=a} END@35"},
        {IN(GH "Content-Length: 0\r\n\r\n" GH "\r\n"),
         "GET http://a/ 1.1 len:0 keep {Host=a,Content-Length=0} END@54"},
        {IN(GH "Connection: close\r\n\r\n" GH "\r\n"),
         "GET http://a/ 1.1 none close {Host=a,Connection=close} END@54"},
        {IN("CONNECT a:443 HTTP/1.1\r\n" H "\r\n\x16\x03\x01"),
         "CONNECT a:443 1.1 none keep {Host=a} END@35"},
    };

    CHECK_REQUESTS(cases);
}

Test(h1_parse_request, tells_a_cut_head_from_none)
{
    static const struct h1_case cases[] = {
        {IN("G"), "MORE@1 eof:TRUNCATED", .eof = true},
        {IN(GH), "MORE@33 eof:TRUNCATED", .eof = true},
        {IN(GH "\r"), "MORE@34 eof:TRUNCATED", .eof = true},
        {IN(GH "\r\n"), "GET http://a/ 1.1 none keep {Host=a} END@35 eof:MORE", .eof = true},
        {IN("G\1"), "MALFORMED@1 eof:MALFORMED", .eof = true},
    };

    CHECK_REQUESTS(cases);
}

/* One parser, one buffer, three requests; the arena is the exchange's and fresh for each. */
Test(h1_parse_request, serves_one_message_after_the_other)
{
    static const char in[] = "POST http://a/1 HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n"
                             "1\r\nx\r\n0\r\nT: v\r\n\r\n"
                             "GET http://a/2 HTTP/1.1\r\n" H "Connection: close\r\n\r\n"
                             "\r\nGET http://a/3 HTTP/1.1\r\n" H "\r\n";
    struct h1_limits limits = {.head_bytes = 200, .target_bytes = 20, .fields = 3};
    struct h1_parser *parser;
    struct arena_pool pool;
    struct arena arena;
    struct request request;
    size_t pos = 0;

    arena_pool_init(&pool, NULL, NULL);
    arena_init(&arena, &pool);
    cr_assert_eq(h1_parser_new_request(NULL, &parser), 0);
    for (char number = '1'; number <= '3'; number++) {
        enum h1_event event;
        size_t taken;
        struct str body;

        h1_parser_begin_request(parser, &limits, &arena, &request);
        cr_assert_not(h1_parser_started(parser));
        cr_assert_eq(h1_parser_eof(parser), H1_MORE);
        do {
            event = h1_parser_next(parser, in + pos, sizeof(in) - 1 - pos, &taken, &body);
            pos += taken;
            cr_assert(h1_parser_started(parser));
        } while (event == H1_HEAD || event == H1_BODY);
        cr_assert_eq(event, H1_END);
        cr_assert_eq(request.target_text.ptr[9], number);
        cr_assert_eq(h1_parser_trailers(parser)->count, number == '1');
        cr_assert_eq(h1_parser_next(parser, in + pos, 0, &taken, &body), H1_END);
        arena_reset(&arena);
    }
    cr_assert_eq(pos, sizeof(in) - 1);
    h1_parser_free(parser);
}

Test(h1_parse_request, names_the_library_version)
{
    cr_assert_str_eq(h1_parser_library_version(), "9.2.1");
    h1_parser_free(NULL);
}
