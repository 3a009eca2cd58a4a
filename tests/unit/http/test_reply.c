// SPDX-License-Identifier: MIT
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "../faults.h"
#include "http/h1_write.h"
#include "http/reply.h"
#include "http/reply_body.h"

static struct arena_pool pool;
static struct arena arena;
static struct request request;
static struct reply_options options;
static struct response response;
static struct str body;

static void set_up(void)
{
    arena_pool_init(&pool, NULL, NULL);
    arena_init(&arena, &pool);
    request = (struct request){.method_text = STR("GET"), .method = METHOD_GET, .minor_version = 1};
    field_list_init(&request.fields, &arena);
    options = (struct reply_options){
        .reason = REPLY_DENIED,
        .server_name = STR("viaduct"),
        .rule = STR("office"),
        .request = &request,
        .send_proxy_status = true,
    };
}

static void tear_down(void)
{
    arena_reset(&arena);
}

TestSuite(reply, .init = set_up, .fini = tear_down);

static void make(void)
{
    cr_assert_eq(reply_make(&options, &arena, &response, &body), 0);
}

static void set_accept(const char *value)
{
    field_list_init(&request.fields, &arena);
    cr_assert_eq(field_list_add(&request.fields, STR("Accept"), str_of(value)), 0);
}

static bool contains(struct str s, const char *part)
{
    return memmem(s.ptr, s.len, part, strlen(part)) != NULL;
}

static void expect_field(enum field_id id, const char *want)
{
    struct str got = field_value(&response.fields, id);

    cr_expect(str_eq(got, str_of(want)), "%s: %.*s, want %s", field_name(id), STR_ARG(got), want);
}

Test(reply, every_row_is_complete)
{
    for (int i = 0; i < REPLY_REASON_COUNT; i++) {
        const struct reply_row *row = reply_row((enum reply_reason)i);

        cr_expect_geq(row->status, 200, "row %d", i);
        cr_expect(row->phrase || *h1_reason(row->status), "row %d", i);
        cr_expect_not_null(row->end, "row %d", i);
        cr_expect_not_null(row->sentence, "row %d", i);
        cr_expect(row->status == 200 || row->proxy_error, "row %d", i);
        cr_expect_eq(row->status == 503 || row->status == 429, row->retry_after, "row %d", i);
    }
}

Test(reply, denial_names_its_rule)
{
    options.target = STR("http://example.com/");
    make();
    cr_expect_eq(response.status, 403);
    cr_expect(str_eq(response.reason, STR("Denied by rule office")));
    expect_field(FIELD_PROXY_STATUS, "viaduct; error=http_request_denied; details=\"rule office\"");
    expect_field(FIELD_CONTENT_TYPE, "text/plain; charset=utf-8");
    cr_expect(str_eq(body, STR("403 Denied by rule office\n\n"
                               "The rules of this proxy do not allow this request. Whoever "
                               "runs the proxy can tell you why, or change them.\n\n"
                               "rule: office\ntarget: http://example.com/\nproxy: viaduct\n")),
              "%.*s", STR_ARG(body));
}

static void expect_retry_after(const char *want)
{
    for (size_t i = 0; i < response.fields.count; i++) {
        if (str_eq(response.fields.items[i].name, STR("Retry-After"))) {
            cr_expect(str_eq(response.fields.items[i].value, str_of(want)));
            return;
        }
    }
    cr_expect_null(want);
}

Test(reply, asks_for_credentials_by_the_rule_that_wants_them)
{
    options.reason = REPLY_CREDENTIALS;
    options.rule = STR("staff");
    options.realm = STR("viaduct");
    make();
    cr_expect_eq(response.status, 407);
    cr_expect(str_eq(response.reason, STR("Proxy Authentication Required by rule staff")));
    expect_field(FIELD_PROXY_AUTHENTICATE, "Basic realm=\"viaduct\", charset=\"UTF-8\"");
    expect_field(FIELD_PROXY_STATUS, "viaduct; error=http_request_denied; details=\"rule staff\"");
    expect_retry_after(NULL);
    options.rule = STR("");
    make();
    cr_expect(str_eq(response.reason, STR("Proxy Authentication Required")));
    options.rule = STR("denied");
    options.rule_is_class = true;
    make();
    cr_expect(str_eq(response.reason, STR("Proxy Authentication Required by a rule")));
}

Test(reply, realm_is_quoted)
{
    char realm[1000];

    options.reason = REPLY_CREDENTIALS;
    options.realm = STR("the \"big\" \\ house");
    make();
    expect_field(FIELD_PROXY_AUTHENTICATE,
                 "Basic realm=\"the \\\"big\\\" \\\\ house\", charset=\"UTF-8\"");
    memset(realm, '"', sizeof(realm));
    options.realm = str_make(realm, sizeof(realm));
    make();
    cr_expect(contains(field_value(&response.fields, FIELD_PROXY_AUTHENTICATE),
                       "\\\"\", charset=\"UTF-8\""));
}

Test(reply, tells_when_to_try_again)
{
    options.reason = REPLY_AUTH_FAILURES;
    make();
    expect_retry_after("5");
    options.retry_after_s = 47;
    make();
    cr_expect_eq(response.status, 429);
    expect_retry_after("47");
    expect_field(FIELD_PROXY_AUTHENTICATE, "");
    options.reason = REPLY_DENIED;
    make();
    expect_retry_after(NULL);
}

Test(reply, rule_of_the_row_shows_unless_hidden)
{
    options.reason = REPLY_LOOP;
    options.rule = STR("");
    make();
    cr_expect(str_eq(response.reason, STR("Denied by rule builtin:loop")));
    expect_field(FIELD_PROXY_STATUS,
                 "viaduct; error=proxy_loop_detected; details=\"rule builtin:loop\"");
    options.hide_rule = true;
    make();
    cr_expect(str_eq(response.reason, STR("Forbidden")));
    expect_field(FIELD_PROXY_STATUS, "viaduct; error=proxy_loop_detected");
    cr_expect_not(contains(body, "builtin"));
}

Test(reply, every_refusal_that_has_a_rule_says_so_in_its_phrase)
{
    options.rule = STR("");
    options.reason = REPLY_BODY_TOO_LARGE;
    make();
    cr_expect(str_eq(response.reason, STR("Content Too Large by rule limit:body_bytes")));
    options.reason = REPLY_TOO_MANY_CONNECTIONS;
    options.rule = STR("guests");
    make();
    cr_expect(str_eq(response.reason, STR("Too Many Requests by rule guests")));
    options.hide_rule = true;
    options.rule = STR("");
    make();
    cr_expect(str_eq(response.reason, STR("Too Many Requests")));
    options.hide_rule = false;
    options.reason = REPLY_REFUSED;
    make();
    cr_expect(str_eq(response.reason, STR("Connection Refused")));
}

Test(reply, rule_unfit_for_a_phrase_stays_out_of_it)
{
    options.rule = STR("a\r\nSet-Cookie: x");
    make();
    cr_expect(str_eq(response.reason, STR("Forbidden")));
    expect_field(FIELD_PROXY_STATUS, "viaduct; error=http_request_denied; "
                                     "details=\"rule a\\\\x0d\\\\x0aSet-Cookie: x\"");
}

Test(reply, dns_errors_tell_the_rcode_and_details)
{
    options.reason = REPLY_DNS_NXDOMAIN;
    options.rule = STR("");
    options.details = STR("asked \"a\\b\"");
    make();
    cr_expect_eq(response.status, 502);
    expect_field(FIELD_PROXY_STATUS, "viaduct; error=dns_error; rcode=\"NXDOMAIN\"; "
                                     "details=\"asked \\\"a\\\\b\\\"\"");
}

Test(reply, server_name_that_is_no_token_is_quoted)
{
    options.server_name = STR("my \"proxy\"");
    make();
    expect_field(FIELD_PROXY_STATUS,
                 "\"my \\\"proxy\\\"\"; error=http_request_denied; details=\"rule office\"");
    options.server_name = STR("1proxy");
    make();
    expect_field(FIELD_PROXY_STATUS,
                 "\"1proxy\"; error=http_request_denied; details=\"rule office\"");
    options.send_proxy_status = false;
    make();
    expect_field(FIELD_PROXY_STATUS, "");
}

Test(reply, form_follows_accept)
{
    static const struct {
        const char *accept;
        enum reply_form form;
    } rows[] = {
        {"", REPLY_PLAIN},
        {"*/*", REPLY_PLAIN},
        {"text/html", REPLY_HTML},
        {"application/json", REPLY_JSON},
        {"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", REPLY_HTML},
        {"text/plain;q=0.5, text/html;q=0.4", REPLY_PLAIN},
        {"text/plain;q=0.5, TEXT/HTML ; level=1 ; Q=0.51", REPLY_HTML},
        {"text/*;q=0.3, application/json;q=0.2", REPLY_PLAIN},
        {"text/plain;q=0, */*", REPLY_HTML},
        {"text/*;q=0, */*;q=0.1", REPLY_JSON},
        {"application/json;q=1.000, text/*;q=0.999", REPLY_JSON},
        {"application/json;q=9, text/html;q=0.1", REPLY_HTML},
        {"application/json;q=, text/html;q=0.1", REPLY_HTML},
        {"application/json;q=0.a, text/html;q=0.1", REPLY_HTML},
        {"application/json;q=0./, text/html;q=0.1", REPLY_HTML},
        {"application/json;q=0:9, text/html;q=0.1", REPLY_HTML},
        {"application/json;q=0.9999, text/html;q=0.1", REPLY_HTML},
        {"application/json;q=1, text/html;q=0.1", REPLY_JSON},
        {"image/png", REPLY_PLAIN},
        {";;,/,q=1", REPLY_PLAIN},
    };

    cr_expect_eq(reply_choose_form(NULL), REPLY_PLAIN);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        set_accept(rows[i].accept);
        cr_expect_eq(reply_choose_form(&request.fields), rows[i].form, "%s", rows[i].accept);
    }
}

Test(reply, html_escapes_what_peers_wrote)
{
    set_accept("text/html");
    options.target = STR("http://a/<script>alert('1')</script>&\"\xff");
    make();
    expect_field(FIELD_CONTENT_TYPE, "text/html; charset=utf-8");
    cr_expect(contains(body, "http://a/&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;&amp;&quot;"
                             "\\xff"));
    cr_expect_not(contains(body, "<script"));
}

Test(reply, json_escapes_what_peers_wrote)
{
    set_accept("application/json");
    options.details = STR("a \"b\" \\ \n\xc3\xa4");
    make();
    expect_field(FIELD_CONTENT_TYPE, "application/json");
    cr_expect(str_eq(body, STR("{\"status\":403,\"reason\":\"Denied by rule office\","
                               "\"error\":\"http_request_denied\","
                               "\"message\":\"The rules of this proxy do not allow this "
                               "request. Whoever runs the proxy can tell you why, or change "
                               "them.\","
                               "\"rule\":\"office\","
                               "\"details\":\"a \\\"b\\\" \\\\ \\\\x0a\\\\xc3\\\\xa4\","
                               "\"proxy\":\"viaduct\"}\n")),
              "%.*s", STR_ARG(body));
}

/* The most that an answer can hold, in the form that grows it most. */
Test(reply, long_texts_are_cut_and_fit)
{
    static char quotes[70000];

    memset(quotes, '"', sizeof(quotes));
    set_accept("text/html");
    options.rule = str_make(quotes, sizeof(quotes));
    options.details = options.target = options.server_name = options.rule;
    make();
    cr_expect(contains(body, "&quot;...</dd>"));
    cr_expect_lt(body.len, 20000);
    options.rule = options.details = options.target = options.server_name =
        str_make(quotes, REPLY_PAGE_TEXT_MAX);
    make();
    memset(quotes, 1, sizeof(quotes));
    make();
    cr_expect(contains(body, "\\x01..."));
}

Test(reply, head_gets_the_length_but_no_body)
{
    size_t len;

    make();
    len = body.len;
    cr_expect_eq(response.framing.kind, BODY_LENGTH);
    cr_expect_eq(response.framing.length, len);
    request.method = METHOD_HEAD;
    make();
    cr_expect_eq(body.len, 0);
    cr_expect_eq(response.framing.kind, BODY_NONE);
    cr_expect_eq(
        (size_t)strtoull(field_value(&response.fields, FIELD_CONTENT_LENGTH).ptr, NULL, 10), len);
}

Test(reply, says_close_and_when_to_come_back)
{
    struct str head;

    options.reason = REPLY_NO_DESCRIPTORS;
    options.rule = STR("");
    options.close = true;
    options.request = NULL;
    make();
    head = h1_write_response(&arena, &response);
    cr_expect(str_starts(head, STR("HTTP/1.1 503 Service Unavailable\r\nDate: ")));
    cr_expect(contains(head, "\r\nRetry-After: 5\r\n"));
    cr_expect(contains(head, "\r\nCache-Control: no-store\r\n"));
    cr_expect(contains(head, "\r\nConnection: close\r\n"));
    cr_expect_not(response.keep_alive);
}

Test(reply, tells_how_to_use_a_proxy)
{
    static const char *const rows[][2] = {
        {"localhost:8080", "curl -x http://localhost:8080 http://example.com/\n"},
        {"[::1]:3128", "curl -x http://[::1]:3128 http://example.com/\n"},
        {"example.org", "curl -x http://HOST:PORT http://example.com/\n"},
        {"$(reboot):1", "curl -x http://HOST:PORT http://example.com/\n"},
    };

    options.reason = REPLY_NOT_PROXY;
    options.rule = STR("");
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        field_list_init(&request.fields, &arena);
        cr_assert_eq(field_list_add(&request.fields, STR("Host"), str_of(rows[i][0])), 0);
        make();
        cr_expect_eq(response.status, 400);
        cr_expect(contains(body, rows[i][1]), "%.*s", STR_ARG(body));
    }
    set_accept("text/html");
    make();
    cr_expect(contains(body, "<pre>curl -x http://HOST:PORT http://example.com/</pre>"));
    options.request = NULL;
    make();
    cr_expect(contains(body, "curl -x http://HOST:PORT"));
}

Test(reply, answers_options_at_the_last_hop)
{
    options.reason = REPLY_MAX_FORWARDS;
    request.method = METHOD_OPTIONS;
    make();
    cr_expect_eq(response.status, 200);
    cr_expect_eq(body.len, 0);
    expect_field(FIELD_CONTENT_LENGTH, "0");
    expect_field(FIELD_CONTENT_TYPE, "");
    expect_field(FIELD_PROXY_STATUS, "");
    options.request = NULL;
    make();
    cr_expect_eq(body.len, 0);
}

Test(reply, traces_without_credentials)
{
    options.reason = REPLY_MAX_FORWARDS;
    request.method = METHOD_TRACE;
    request.method_text = STR("TRACE");
    request.target_text = STR("http://a.example/x");
    cr_assert_eq(field_list_add(&request.fields, STR("Max-Forwards"), STR("0")), 0);
    cr_assert_eq(field_list_add(&request.fields, STR("cookie"), STR("secret")), 0);
    cr_assert_eq(field_list_add(&request.fields, STR("AUTHORIZATION"), STR("secret")), 0);
    cr_assert_eq(field_list_add(&request.fields, STR("Proxy-Authorization"), STR("secret")), 0);
    cr_assert_eq(field_list_add(&request.fields, STR("X"), str_make(NULL, 0)), 0);
    make();
    expect_field(FIELD_CONTENT_TYPE, "message/http");
    cr_expect(
        str_eq(body, STR("TRACE http://a.example/x HTTP/1.1\r\nMax-Forwards: 0\r\nX: \r\n\r\n")),
        "%.*s", STR_ARG(body));
}

/* ------------------------------------------------------------------ memory */

static void prepare_denial(void)
{
    tear_down();
    set_up();
    options.rule = STR("a rule");
    options.details = STR("\xff");
    options.target = STR("\xff");
    options.server_name = STR("*my-proxy/1\xff");
    options.close = true;
}

static void prepare_unprintable_rule(void)
{
    prepare_denial();
    options.rule = STR("\xff");
}

static void prepare_example(void)
{
    prepare_denial();
    options.reason = REPLY_NOT_PROXY;
}

static void prepare_trace(void)
{
    tear_down();
    set_up();
    options.reason = REPLY_MAX_FORWARDS;
    request.method = METHOD_TRACE;
    request.target_text = STR("http://a/");
    cr_assert_eq(field_list_add(&request.fields, STR("X"), STR("1")), 0);
}

static void prepare_busy(void)
{
    prepare_denial();
    options.reason = REPLY_NO_MEMORY;
}

static int make_prepared(void)
{
    return reply_make(&options, &arena, &response, &body);
}

Test(reply, says_when_memory_is_out)
{
    cr_expect_gt(fail_each_allocation(prepare_denial, make_prepared), 5);
    cr_expect(str_eq(response.reason, STR("Denied by rule a rule")));
    cr_expect_gt(fail_each_allocation(prepare_unprintable_rule, make_prepared), 5);
    cr_expect_gt(fail_each_allocation(prepare_example, make_prepared), 5);
    cr_expect_gt(fail_each_allocation(prepare_trace, make_prepared), 5);
    cr_expect_gt(fail_each_allocation(prepare_busy, make_prepared), 5);
}

Test(reply, server_name_may_be_any_token)
{
    static const char *const names[] = {"*", "Proxy:80/x", "a!#$%&'*+-.^_`|~1"};

    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        options.server_name = str_of(names[i]);
        make();
        cr_expect(str_starts(field_value(&response.fields, FIELD_PROXY_STATUS), str_of(names[i])));
    }
    options.server_name = STR("");
    make();
    cr_expect(str_starts(field_value(&response.fields, FIELD_PROXY_STATUS), STR("\"\"; error=")));
}
