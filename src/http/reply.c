// SPDX-License-Identifier: MIT
#include "http/reply.h"

#include <errno.h>

#include "base/text.h"
#include "base/url.h"
#include "http/h1_write.h"
#include "http/reply_body.h"

#define RETRY_AFTER_S 5

#define REALM_MAX 255 /* a longer one is cut */

/* The longest rule name that goes into a reason phrase. */
#define PHRASE_RULE_MAX 100

static bool is_printable(struct str s)
{
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] < ' ' || s.ptr[i] > '~') {
            return false;
        }
    }
    return true;
}

/* s as printable ASCII: other bytes as \xNN, cut with "..." at REPLY_PAGE_TEXT_MAX. *ret is s
 * itself when it is fit already, else in the arena. */
static int make_printable(struct arena *arena, struct str s, struct str *ret)
{
    char buf[REPLY_PAGE_TEXT_MAX];
    struct text out = text_over(buf, sizeof(buf) - 3);

    if (is_printable(s) && s.len <= sizeof(buf)) {
        *ret = s;
        return 0;
    }
    for (size_t i = 0; i < s.len && !out.full; i++) {
        unsigned char c = (unsigned char)s.ptr[i];

        if (c >= ' ' && c <= '~') {
            text_char(&out, s.ptr[i]);
        } else {
            text_printf(&out, "\\x%02x", c);
        }
    }
    if (out.full) {
        out.cap = sizeof(buf);
        text_put(&out, STR("..."));
    }
    *ret = arena_copy(arena, text_str(&out));
    return ret->ptr ? 0 : -ENOMEM;
}

static int append_all(struct arena *arena, struct str *to, const struct str *parts, size_t count)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < count; i++) {
        r = arena_append(arena, to, parts[i].ptr, parts[i].len);
    }
    return r;
}

/* "PHRASE by rule NAME", where the name can stand in a phrase: of a refused tunnel most clients
 * show no more than that. */
static int make_phrase(struct arena *arena, const struct reply_row *row, struct str rule,
                       bool is_class, struct str *ret)
{
    struct str plain = str_of(row->phrase ? row->phrase : h1_reason(row->status));
    const struct str parts[] = {row->status == 403 ? STR("Denied") : plain,
                                is_class ? STR(" by a rule") : STR(" by rule "),
                                is_class ? STR("") : rule};
    struct str phrase = {0};

    if (rule.len == 0 || rule.len > PHRASE_RULE_MAX || !is_printable(rule)) {
        *ret = plain;
        return 0;
    }
    if (append_all(arena, &phrase, parts, ARRAY_LEN(parts)) != 0) {
        return -ENOMEM;
    }
    *ret = phrase;
    return 0;
}

/* How to use a proxy, for one who took us for a web server: with the address the client used, as
 * far as its Host field tells (one without a port may name the site that it meant). */
static int make_example(struct arena *arena, const struct request *request, struct str *ret)
{
    char buf[REPLY_PAGE_TEXT_MAX];
    struct text out = TEXT_OVER(buf);
    struct str field = request ? field_value(&request->fields, FIELD_HOST) : STR("");
    struct host host;
    uint16_t port = 0;
    int host_error;

    text_put(&out, STR("curl -x http://"));
    if (url_parse_host_port(field, &host, &port, &host_error) == 0 && port != 0) {
        host_put(&out, &host);
        text_char(&out, ':');
        text_u64(&out, port);
    } else {
        text_put(&out, STR("HOST:PORT"));
    }
    text_put(&out, STR(" http://example.com/"));
    *ret = arena_copy(arena, text_str(&out));
    return ret->ptr ? 0 : -ENOMEM;
}

/* RFC 8941 3.3.4, with the first character's rule. */
static bool is_sf_token(struct str s)
{
    struct str rest = STR("!#$%&'*+-.^_`|~:/");

    for (size_t i = 0; i < s.len; i++) {
        char c = str_lower(s.ptr[i]);
        bool first_ok = (c >= 'a' && c <= 'z') || c == '*';

        if (!first_ok && (i == 0 || (!(c >= '0' && c <= '9') && !str_has(rest, c)))) {
            return false;
        }
    }
    return s.len > 0;
}

/* RFC 8941 3.3.3; s is printable ASCII. */
static void put_sf_string(struct text *out, struct str s)
{
    text_char(out, '"');
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] == '"' || s.ptr[i] == '\\') {
            text_char(out, '\\');
        }
        text_char(out, s.ptr[i]);
    }
    text_char(out, '"');
}

/* NAME; error=TYPE; details="rule RULE; DETAILS" (RFC 9209 2). */
static int add_proxy_status(struct field_list *fields, const struct reply_row *row,
                            const struct reply_page *page)
{
    char joined[2 * REPLY_PAGE_TEXT_MAX + 16];
    char buf[2 * sizeof(joined) + 2 * REPLY_PAGE_TEXT_MAX + 128];
    struct text details = TEXT_OVER(joined);
    struct text out = TEXT_OVER(buf);
    struct str value;

    if (is_sf_token(page->server)) {
        text_put(&out, page->server);
    } else {
        put_sf_string(&out, page->server);
    }
    text_printf(&out, "; error=%s", row->proxy_error);
    if (row->dns_rcode) {
        text_printf(&out, "; rcode=\"%s\"", row->dns_rcode);
    }
    if (page->rule.len > 0) {
        text_put(&details, STR("rule "));
        text_put(&details, page->rule);
    }
    if (page->details.len > 0) {
        text_put(&details, page->rule.len > 0 ? STR("; ") : STR(""));
        text_put(&details, page->details);
    }
    if (details.len > 0) {
        text_put(&out, STR("; details="));
        put_sf_string(&out, text_str(&details));
    }
    value = arena_copy(fields->arena, text_str(&out));
    return value.ptr ? field_list_add_id(fields, FIELD_PROXY_STATUS, value) : -ENOMEM;
}

/* RFC 7617 2 and 2.1: what the client sends is to be UTF-8. The quotes of a realm are escaped as in
 * a structured field's string. */
static int add_challenge(struct field_list *fields, struct str realm)
{
    char buf[2 * REALM_MAX + 64];
    struct text out = TEXT_OVER(buf);
    struct str value;

    text_put(&out, STR("Basic realm="));
    put_sf_string(&out, str_head(realm, REALM_MAX));
    text_put(&out, STR(", charset=\"UTF-8\""));
    value = arena_copy(fields->arena, text_str(&out));
    return value.ptr ? field_list_add_id(fields, FIELD_PROXY_AUTHENTICATE, value) : -ENOMEM;
}

static int add_retry_after(struct field_list *fields, uint64_t seconds)
{
    char buf[24];
    struct text out = TEXT_OVER(buf);
    struct str value;

    text_u64(&out, seconds > 0 ? seconds : RETRY_AFTER_S);
    value = arena_copy(fields->arena, text_str(&out));
    return value.ptr ? field_list_add(fields, STR("Retry-After"), value) : -ENOMEM;
}

static int make_page(const struct reply_options *options, struct arena *arena,
                     struct reply_page *ret)
{
    const struct reply_row *row = reply_row(options->reason);
    struct str rule = options->rule;
    struct reply_page page = {
        .status = row->status,
        .sentence = str_of(row->sentence),
        .error = str_of(row->proxy_error),
    };
    int r;

    if (rule.len == 0 && !options->hide_rule) {
        rule = str_of(row->rule);
    }
    r = make_phrase(arena, row, rule, options->rule_is_class, &page.phrase);
    if (r == 0) {
        r = make_printable(arena, rule, &page.rule);
    }
    if (r == 0) {
        r = make_printable(arena, options->details, &page.details);
    }
    if (r == 0) {
        r = make_printable(arena, options->target, &page.target);
    }
    if (r == 0) {
        r = make_printable(arena, options->server_name, &page.server);
    }
    if (r == 0 && options->reason == REPLY_NOT_PROXY) {
        r = make_example(arena, options->request, &page.example);
    }
    if (r == 0) {
        *ret = page;
    }
    return r;
}

static bool is_credential(const struct field *field)
{
    return field->id == FIELD_PROXY_AUTHORIZATION || field->id == FIELD_AUTHORIZATION ||
           str_ieq(field->name, STR("Cookie")) || str_ieq(field->name, STR("Cookie2"));
}

/* The request's head as it came (RFC 9110 9.3.8), less what must not be shown to scripts. */
static int write_trace(struct arena *arena, const struct request *request, struct str *ret)
{
    struct str head = {0};
    const struct str start[] = {request->method_text, STR(" "), request->target_text,
                                request->minor_version == 0 ? STR(" HTTP/1.0\r\n")
                                                            : STR(" HTTP/1.1\r\n")};
    int r = append_all(arena, &head, start, ARRAY_LEN(start));

    for (size_t i = 0; r == 0 && i < request->fields.count; i++) {
        const struct field *field = &request->fields.items[i];
        const struct str line[] = {field->name, STR(": "), field->value, STR("\r\n")};

        if (!is_credential(field)) {
            r = append_all(arena, &head, line, ARRAY_LEN(line));
        }
    }
    if (r == 0) {
        r = arena_append(arena, &head, "\r\n", 2);
    }
    if (r == 0) {
        *ret = head;
    }
    return r;
}

static int make_body(const struct reply_options *options, const struct reply_page *page,
                     struct arena *arena, struct str *ret_type, struct str *ret_body)
{
    const struct request *request = options->request;
    enum reply_form form = reply_choose_form(request ? &request->fields : NULL);

    *ret_type = STR("");
    *ret_body = STR("");
    if (options->reason != REPLY_MAX_FORWARDS) {
        *ret_type = str_of(reply_form_type(form));
        *ret_body = reply_write_page(arena, form, page);
        return ret_body->ptr ? 0 : -ENOMEM;
    }
    if (request && request->method == METHOD_TRACE) {
        *ret_type = STR("message/http");
        return write_trace(arena, request, ret_body);
    }
    return 0;
}

static int add_fields(const struct reply_options *options, const struct reply_page *page,
                      struct str type, size_t length, struct field_list *fields)
{
    const struct reply_row *row = reply_row(options->reason);
    int r = field_list_add_date(fields);

    if (r == 0 && type.len > 0) {
        r = field_list_add_id(fields, FIELD_CONTENT_TYPE, type);
    }
    if (r == 0) {
        r = field_list_add_u64(fields, FIELD_CONTENT_LENGTH, length);
    }
    if (r == 0) {
        r = field_list_add(fields, STR("Cache-Control"), STR("no-store"));
    }
    if (r == 0 && row->retry_after) {
        r = add_retry_after(fields, options->retry_after_s);
    }
    if (r == 0 && options->reason == REPLY_CREDENTIALS) {
        r = add_challenge(fields, options->realm);
    }
    if (r == 0 && row->proxy_error && options->send_proxy_status) {
        r = add_proxy_status(fields, row, page);
    }
    if (r == 0 && options->close) {
        r = field_list_add_id(fields, FIELD_CONNECTION, STR("close"));
    }
    return r;
}

int reply_make(const struct reply_options *options, struct arena *arena, struct response *ret,
               struct str *ret_body)
{
    bool is_head = options->request && options->request->method == METHOD_HEAD;
    struct response response = {.minor_version = 1, .keep_alive = !options->close};
    struct reply_page page;
    struct str type;
    struct str body;
    int r = make_page(options, arena, &page);

    if (r == 0) {
        r = make_body(options, &page, arena, &type, &body);
    }
    if (r != 0) {
        return r;
    }
    field_list_init(&response.fields, arena);
    r = add_fields(options, &page, type, body.len, &response.fields);
    if (r != 0) {
        return r;
    }
    response.status = page.status;
    response.reason = page.phrase;
    if (!is_head) {
        response.framing = (struct framing){.kind = BODY_LENGTH, .length = body.len};
    }
    *ret = response;
    *ret_body = is_head ? STR("") : body;
    return 0;
}
