// SPDX-License-Identifier: MIT
#include "http/h1_head.h"

#include "base/url.h"
#include "http/framing.h"

enum h1_error h1_head_framing_error(int framing_error)
{
    return framing_error == FRAMING_UNKNOWN_CODING ? H1_E_CODING : H1_E_FRAMING;
}

/* RFC 9112 9.3. A proxy never keeps a 1.0 client's connection; a 1.0 origin's may be kept. */
static bool lets_go_on(const struct field_list *fields, unsigned minor_version, bool is_response)
{
    if (field_has_token(fields, FIELD_CONNECTION, STR("close"))) {
        return false;
    }
    return minor_version > 0 ||
           (is_response && field_has_token(fields, FIELD_CONNECTION, STR("keep-alive")));
}

/* RFC 9112 3.2. An empty Host is for targets without an authority. */
static bool host_is_valid(const struct request *request)
{
    size_t count = field_count(&request->fields, FIELD_HOST);
    struct str value = str_trim(field_value(&request->fields, FIELD_HOST));
    struct host host;
    uint16_t port;
    int host_error;

    if (count != 1) {
        return count == 0 && request->minor_version == 0;
    }
    if (value.len == 0) {
        return str_starts(request->target_text, STR("/")) || str_eq(request->target_text, STR("*"));
    }
    return url_parse_host_port(value, &host, &port, &host_error) == 0;
}

/* RFC 9110 7.6.2: where it counts hops it must be a number that can be counted down, or some reader
 * behind us takes it for another. */
static bool max_forwards_is_valid(const struct request *request)
{
    size_t count = field_count(&request->fields, FIELD_MAX_FORWARDS);
    uint64_t hops;

    if (count == 0 || (request->method != METHOD_TRACE && request->method != METHOD_OPTIONS)) {
        return true;
    }
    return count == 1 && str_parse_u64(str_trim(field_value(&request->fields, FIELD_MAX_FORWARDS)),
                                       UINT64_MAX, &hops);
}

enum h1_error h1_head_request(struct request *request, const char **ret_text)
{
    const struct field_list *fields = &request->fields;
    bool is_1_1 = request->minor_version == 1;
    int error;

    request->method = method_identify(request->method_text);
    request->is_idempotent = method_is_idempotent(request->method_text);
    if (!host_is_valid(request)) {
        *ret_text = "The Host field is missing, repeated or not a host.";
        return H1_E_HOST;
    }
    error = framing_of_request(request, &request->framing);
    if (error) {
        *ret_text = framing_error_text(error);
        return h1_head_framing_error(error);
    }
    if (!max_forwards_is_valid(request)) {
        *ret_text = "Max-Forwards is not one number.";
        return H1_E_MALFORMED;
    }
    request->keep_alive = lets_go_on(fields, request->minor_version, false);
    request->expects_continue =
        is_1_1 && field_has_token(fields, FIELD_EXPECT, STR("100-continue"));
    request->wants_upgrade = is_1_1 && request->method != METHOD_CONNECT &&
                             field_count(fields, FIELD_UPGRADE) > 0 &&
                             field_has_token(fields, FIELD_CONNECTION, STR("upgrade"));
    return H1_E_NONE;
}

/* A 1xx or 204 whose fields announce content (RFC 9112 6.1, RFC 9110 8.6): there is none, but what
 * the origin sends next cannot be trusted. */
static bool promises_forbidden_content(const struct response *response)
{
    struct str length = str_trim(field_value(&response->fields, FIELD_CONTENT_LENGTH));

    return (response->status < 200 || response->status == 204) &&
           (field_find(&response->fields, FIELD_TRANSFER_ENCODING) ||
            (length.len > 0 && !str_eq(length, STR("0"))));
}

enum h1_error h1_head_response(struct response *response, enum method to, const char **ret_text)
{
    int error =
        framing_of_response(response, to == METHOD_HEAD, to == METHOD_CONNECT, &response->framing);

    if (error) {
        *ret_text = framing_error_text(error);
        return h1_head_framing_error(error);
    }
    response->keep_alive = response->framing.kind != BODY_UNTIL_CLOSE &&
                           !promises_forbidden_content(response) &&
                           lets_go_on(&response->fields, response->minor_version, true);
    return H1_E_NONE;
}
