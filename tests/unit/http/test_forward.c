// SPDX-License-Identifier: MIT
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "../faults.h"
#include "http/forward.h"
#include "http/h1_write.h"

static struct arena_pool pool;
static struct arena arena;
static struct request request;
static struct response response;
static struct forward_options options;

static void set_up(void)
{
    arena_pool_init(&pool, NULL, NULL);
    arena_init(&arena, &pool);
    request = (struct request){.method_text = STR("GET"), .method = METHOD_GET, .minor_version = 1};
    request.target = (struct target){.port = 80, .origin_form = STR("/")};
    cr_assert_eq(host_parse(STR("a.example"), &request.target.host), 0);
    field_list_init(&request.fields, &arena);
    response = (struct response){.status = 200, .reason = STR("OK"), .minor_version = 1};
    field_list_init(&response.fields, &arena);
    options = (struct forward_options){.via_name = STR("me")};
}

static void tear_down(void)
{
    arena_reset(&arena);
}

static void start_over(void)
{
    tear_down();
    set_up();
}

TestSuite(forward, .init = set_up, .fini = tear_down);

/* text: "Name: value\n" lines. */
static void add_lines(struct field_list *fields, const char *text)
{
    struct str rest = str_of(text);

    while (rest.len > 0) {
        struct str line = str_cut(&rest, '\n');
        struct str name = str_cut(&line, ':');

        cr_assert_eq(field_list_add(fields, name, str_trim(line)), 0);
    }
}

/* The fields as written, with LF alone. */
static void expect_lines(const struct field_list *fields, const char *want)
{
    char got[4096] = "";
    size_t len = 0;

    for (size_t i = 0; i < fields->count; i++) {
        if (!fields->items[i].dropped) {
            len +=
                (size_t)snprintf(got + len, sizeof(got) - len, "%.*s: %.*s\n",
                                 STR_ARG(fields->items[i].name), STR_ARG(fields->items[i].value));
        }
    }
    cr_expect_str_eq(got, want);
}

static void expect_request(const char *in, const char *want)
{
    add_lines(&request.fields, in);
    cr_assert_eq(forward_request(&request, &options), 0);
    expect_lines(&request.fields, want);
}

static void expect_response(const char *in, const struct forward_response_options *how,
                            const char *want)
{
    add_lines(&response.fields, in);
    cr_assert_eq(forward_response(&response, how), 0);
    expect_lines(&response.fields, want);
}

Test(forward, request_keeps_order_and_leads_with_the_targets_host)
{
    expect_request("B: 1\nHost: other\nA: 2\nB: 3\nVia: 1.0 x\n",
                   "Host: a.example\nB: 1\nA: 2\nB: 3\nVia: 1.0 x\nVia: 1.1 me\n");
}

Test(forward, host_names_a_port_other_than_80)
{
    cr_assert_eq(host_parse(STR("[2001:db8::1]"), &request.target.host), 0);
    request.target.port = 8080;
    expect_request("", "Host: [2001:db8::1]:8080\nVia: 1.1 me\n");
}

Test(forward, request_loses_what_ends_here)
{
    expect_request("Connection: close, X-Hop\nConnection: x-hop2\nX-Hop: 1\nx-HOP2: 2\n"
                   "Keep-Alive: timeout=5\nProxy-Connection: keep-alive\n"
                   "Proxy-Authorization: Basic eA==\nTE: gzip\nUpgrade: websocket\nX-Stays: 1\n",
                   "Host: a.example\nX-Stays: 1\nVia: 1.1 me\n");
}

Test(forward, connection_cannot_unframe_or_take_ours_away)
{
    request.framing = (struct framing){.kind = BODY_LENGTH, .length = 5};
    expect_request("Connection: Host, Content-Length, Transfer-Encoding, Via\n"
                   "Content-Length: 5\nVia: 1.1 x\n",
                   "Host: a.example\nContent-Length: 5\nVia: 1.1 me\n");
}

Test(forward, frames_anew)
{
    request.framing = (struct framing){.kind = BODY_CHUNKED};
    expect_request("Transfer-Encoding: Chunked\nTrailer: X\n",
                   "Host: a.example\nTrailer: X\nTransfer-Encoding: chunked\nVia: 1.1 me\n");
}

Test(forward, says_an_empty_body_if_the_client_did)
{
    request.framing = (struct framing){.kind = BODY_LENGTH};
    expect_request("Content-Length: 0, 0\n", "Host: a.example\nContent-Length: 0\nVia: 1.1 me\n");
}

Test(forward, via_tells_the_received_version_or_nothing)
{
    request.minor_version = 0;
    expect_request("", "Host: a.example\nVia: 1.0 me\n");
    start_over();
    options.via_name = STR("");
    expect_request("Via: 1.1 x\n", "Host: a.example\nVia: 1.1 x\n");
}

Test(forward, expect_passes_from_1_1_only)
{
    expect_request("Expect: 100-continue\n",
                   "Host: a.example\nExpect: 100-continue\nVia: 1.1 me\n");
    start_over();
    request.minor_version = 0;
    expect_request("Expect: 100-continue\n", "Host: a.example\nVia: 1.0 me\n");
}

Test(forward, te_trailers_gets_its_option)
{
    expect_request("TE: gzip;q=0.5, Trailers\nConnection: TE\n",
                   "Host: a.example\nConnection: TE\nTE: trailers\nVia: 1.1 me\n");
}

Test(forward, upgrade_gets_its_option_without_h2c)
{
    request.wants_upgrade = true;
    expect_request("Upgrade: h2c, websocket\nUpgrade: foo/2\nConnection: Upgrade, HTTP2-Settings\n"
                   "HTTP2-Settings: x\nTE: trailers\n",
                   "Host: a.example\nConnection: TE, Upgrade\nTE: trailers\n"
                   "Upgrade: websocket, foo/2\nVia: 1.1 me\n");
    cr_expect(request.wants_upgrade);
}

Test(forward, upgrade_to_h2c_alone_is_none)
{
    request.wants_upgrade = true;
    expect_request("Upgrade: H2C\nConnection: Upgrade\n", "Host: a.example\nVia: 1.1 me\n");
    cr_expect_not(request.wants_upgrade);
}

Test(forward, max_forwards_counts_on_trace_and_options_only)
{
    expect_request("Max-Forwards: 5\n", "Host: a.example\nMax-Forwards: 5\nVia: 1.1 me\n");
    start_over();
    request.method = METHOD_OPTIONS;
    expect_request("Max-Forwards: 10\n", "Host: a.example\nMax-Forwards: 9\nVia: 1.1 me\n");
    start_over();
    request.method = METHOD_TRACE;
    expect_request("Max-Forwards: x\n", "Host: a.example\nMax-Forwards: x\nVia: 1.1 me\n");
    start_over();
    request.method = METHOD_TRACE;
    expect_request("Max-Forwards: 0\n", "Host: a.example\nMax-Forwards: 0\nVia: 1.1 me\n");
}

Test(forward, tells_the_client_in_a_line_of_its_own)
{
    static const struct {
        enum forward_client how;
        const char *client;
        const char *want;
    } rows[] = {
        {FORWARD_CLIENT_RFC7239, "10.0.0.1", "Forwarded: for=10.0.0.1\n"},
        {FORWARD_CLIENT_RFC7239, "2001:db8::1", "Forwarded: for=\"[2001:db8::1]\"\n"},
        {FORWARD_CLIENT_RFC7239, NULL, "Forwarded: for=unknown\n"},
        {FORWARD_CLIENT_XFF, "10.0.0.1", "X-Forwarded-For: 10.0.0.1\n"},
        {FORWARD_CLIENT_XFF, "2001:db8::1", "X-Forwarded-For: 2001:db8::1\n"},
        {FORWARD_CLIENT_XFF, NULL, "X-Forwarded-For: unknown\n"},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char want[256];

        start_over();
        options.tell_client = rows[i].how;
        options.client = (struct addr){.kind = ADDR_UNIX};
        if (rows[i].client) {
            cr_assert(addr_parse_ip(str_of(rows[i].client), &options.client));
        }
        (void)snprintf(want, sizeof(want),
                       "Host: a.example\nForwarded: for=x\nX-Forwarded-For: x\n%sVia: 1.1 me\n",
                       rows[i].want);
        expect_request("Forwarded: for=x\nX-Forwarded-For: x\n", want);
    }
}

Test(forward, too_many_options_are_refused)
{
    static char value[2 * FORWARD_MAX_OPTIONS + 3];
    struct forward_response_options how = {0};

    for (size_t i = 0; i + 1 < sizeof(value); i++) {
        value[i] = i % 2 == 0 ? 'a' : ',';
    }
    cr_assert_eq(field_list_add(&request.fields, STR("Connection"), str_of(value)), 0);
    cr_assert_eq(field_list_add(&response.fields, STR("Connection"), str_of(value)), 0);
    cr_expect_eq(forward_request(&request, &options), -E2BIG);
    cr_expect_eq(forward_response(&response, &how), -E2BIG);
}

Test(forward, response_is_cleaned_framed_and_dated)
{
    struct forward_response_options how = {.via_name = STR("me"),
                                           .framing = {.kind = BODY_CHUNKED}};

    expect_response(
        "Date: D\nConnection: X-Hop, Content-Type, close\nX-Hop: 1\nKeep-Alive: t\n"
        "Proxy-Connection: x\nProxy-Authenticate: Basic\nTransfer-Encoding: chunked\n"
        "Upgrade: h2c\nSet-Cookie: a\nContent-Type: t\nSet-Cookie: b\nContent-Length: 7\n",
        &how,
        "Date: D\nSet-Cookie: a\nSet-Cookie: b\nTransfer-Encoding: chunked\n"
        "Via: 1.1 me\n");
}

Test(forward, response_says_close_when_it_must)
{
    struct forward_response_options how = {.framing = {.kind = BODY_LENGTH, .length = 3},
                                           .close = true};

    expect_response("Date: D\nContent-Length: 3, 3\n", &how,
                    "Date: D\nContent-Length: 3\nConnection: close\n");
    start_over();
    how = (struct forward_response_options){.framing = {.kind = BODY_UNTIL_CLOSE}};
    expect_response("Date: D\n", &how, "Date: D\nConnection: close\n");
    start_over();
    how = (struct forward_response_options){.client_is_1_0 = true};
    expect_response("Date: D\n", &how, "Date: D\nConnection: close\n");
}

Test(forward, response_without_body_tells_no_length_unless_kept)
{
    struct forward_response_options how = {.keep_length = false};

    expect_response("Date: D\nContent-Length: 7\n", &how, "Date: D\n");
    start_over();
    how.keep_length = true;
    expect_response("Date: D\nContent-Length: 7\nContent-Length: 007\n", &how,
                    "Date: D\nContent-Length: 7\n");
    start_over();
    expect_response("Date: D\nContent-Length: 7\nContent-Length: 8\n", &how, "Date: D\n");
    start_over();
    expect_response("Date: D\nContent-Length: -7\n", &how, "Date: D\n");
}

Test(forward, connection_cannot_take_a_kept_length)
{
    struct forward_response_options how = {.keep_length = true};

    expect_response("Date: D\nContent-Length: 7\nConnection: Content-Length\n", &how,
                    "Date: D\nContent-Length: 7\n");
}

Test(forward, response_without_date_gets_one_unless_interim)
{
    struct forward_response_options how = {.keep_length = false};

    cr_assert_eq(forward_response(&response, &how), 0);
    cr_expect_eq(field_value(&response.fields, FIELD_DATE).len, 29);
    start_over();
    response.status = 103;
    expect_response("Link: x\n", &how, "Link: x\n");
}

Test(forward, switching_protocols_keeps_upgrade)
{
    struct forward_response_options how = {.via_name = STR("me")};

    response.status = 101;
    expect_response("Upgrade: websocket\nConnection: Upgrade, X\nX: 1\nSec-WebSocket-Accept: s\n",
                    &how,
                    "Sec-WebSocket-Accept: s\nConnection: Upgrade\nUpgrade: websocket\n"
                    "Via: 1.1 me\n");
}

Test(forward, reason_with_control_characters_is_replaced)
{
    struct forward_response_options how = {.keep_length = false};

    response.reason = STR("O\x7fK");
    cr_assert_eq(forward_response(&response, &how), 0);
    cr_expect(str_eq(response.reason, STR("OK")));
    response.reason = STR("O\tK");
    cr_assert_eq(forward_response(&response, &how), 0);
    cr_expect(str_eq(response.reason, STR("O\tK")));
    response.reason = STR("O\x01K");
    cr_assert_eq(forward_response(&response, &how), 0);
    cr_expect(str_eq(response.reason, STR("OK")));
    response.reason = STR("Tr\xc3\xa8s bien");
    cr_assert_eq(forward_response(&response, &how), 0);
    cr_expect(str_eq(response.reason, STR("Tr\xc3\xa8s bien")));
}

Test(forward, trailers_lose_what_may_not_stand_there)
{
    add_lines(&response.fields,
              "Digest: x\nContent-Length: 1\ntransfer-encoding: chunked\nHost: h\nX-Hop: 1\n"
              "Connection: x-hop\nset-cookie: a\nAuthorization: b\nCache-Control: c\nTrailer: d\n"
              "Proxy-Status: p\nWWW-Authenticate: w\nTE: t\nServer-Timing: s\n");
    forward_trailers(&response.fields);
    expect_lines(&response.fields, "Digest: x\nProxy-Status: p\nServer-Timing: s\n");
}

Test(forward, trailers_with_too_many_options_are_none)
{
    static char value[2 * FORWARD_MAX_OPTIONS + 3];

    for (size_t i = 0; i + 1 < sizeof(value); i++) {
        value[i] = i % 2 == 0 ? 'a' : ',';
    }
    add_lines(&response.fields, "X: 1\n");
    cr_assert_eq(field_list_add(&response.fields, STR("Connection"), str_of(value)), 0);
    forward_trailers(&response.fields);
    expect_lines(&response.fields, "");
}

Test(forward, sees_its_own_via)
{
    static const struct {
        const char *value;
        bool own;
    } rows[] = {
        {"1.1 viaduct-5f0c2a91", true},
        {"1.0 a, HTTP/1.1 \t VIADUCT-5f0c2a91 (a comment)", true},
        {"1.1\tviaduct-5f0c2a91", true},
        {"1.1 viaduct-5f0c2a9", false},
        {"1.1 viaduct-5f0c2a911", false},
        {"viaduct-5f0c2a91", false},
        {"1.1 a (viaduct-5f0c2a91)", false},
        {"", false},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        start_over();
        cr_assert_eq(field_list_add(&request.fields, STR("Via"), STR("1.1 x")), 0);
        cr_assert_eq(field_list_add(&request.fields, STR("Via"), str_of(rows[i].value)), 0);
        cr_expect_eq(forward_has_via(&request.fields, STR("viaduct-5f0c2a91")), rows[i].own, "%s",
                     rows[i].value);
        cr_expect_not(forward_has_via(&request.fields, STR("")), "%s", rows[i].value);
    }
}

/* ------------------------------------------------------------------ memory */

static void prepare_request(void)
{
    start_over();
    request.wants_upgrade = true;
    request.method = METHOD_OPTIONS;
    request.framing = (struct framing){.kind = BODY_LENGTH, .length = 5};
    options.tell_client = FORWARD_CLIENT_RFC7239;
    add_lines(&request.fields, "Max-Forwards: 1\nUpgrade: h2c, a, b\nTE: trailers\n");
}

static int forward_prepared_request(void)
{
    return forward_request(&request, &options);
}

Test(forward, request_says_when_memory_is_out)
{
    cr_expect_gt(fail_each_allocation(prepare_request, forward_prepared_request), 5);
    expect_lines(&request.fields, "Host: a.example\nMax-Forwards: 0\nContent-Length: 5\n"
                                  "Connection: TE, Upgrade\nTE: trailers\nUpgrade: a, b\n"
                                  "Forwarded: for=unknown\nVia: 1.1 me\n");
}

static void prepare_response(void)
{
    start_over();
    add_lines(&response.fields, "Content-Length: 12\n");
}

static int forward_prepared_response(void)
{
    struct forward_response_options how = {.via_name = STR("me"), .close = true};

    how.keep_length = true;
    return forward_response(&response, &how);
}

static int forward_chunked_response(void)
{
    struct forward_response_options how = {.via_name = STR("me"), .close = true};

    how.framing.kind = BODY_CHUNKED;
    return forward_response(&response, &how);
}

Test(forward, response_says_when_memory_is_out)
{
    cr_expect_gt(fail_each_allocation(prepare_response, forward_prepared_response), 2);
    cr_expect(str_eq(field_value(&response.fields, FIELD_CONTENT_LENGTH), STR("12")));
    cr_expect_gt(fail_each_allocation(prepare_response, forward_chunked_response), 1);
}

/* The list of fields has no room left, so that the next field of ours is what memory is out for. */
static void prepare_full_lists(void)
{
    start_over();
    while (request.fields.count < 32) {
        add_lines(&request.fields, "X: 1\n");
        add_lines(&response.fields, "X: 1\n");
    }
    request.wants_upgrade = true;
    add_lines(&request.fields, "Upgrade: a\nTE: trailers\n");
}

Test(forward, list_that_must_grow_says_when_memory_is_out)
{
    cr_expect_gt(fail_each_allocation(prepare_full_lists, forward_prepared_request), 2);
    cr_expect_gt(fail_each_allocation(prepare_full_lists, forward_prepared_response), 2);
}
