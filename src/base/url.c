// SPDX-License-Identifier: MIT
#include "base/url.h"

static bool is_alpha(char c)
{
    return str_lower(c) >= 'a' && str_lower(c) <= 'z';
}

static bool is_scheme_char(char c)
{
    return is_alpha(c) || (c >= '0' && c <= '9') || c == '+' || c == '-' || c == '.';
}

bool url_parse_scheme(struct str text, struct str *ret)
{
    size_t len = 0;

    while (len < text.len && is_scheme_char(text.ptr[len])) {
        len++;
    }
    if (len == 0 || !is_alpha(text.ptr[0]) || !str_starts(str_from(text, len), STR("://"))) {
        return false;
    }
    *ret = str_head(text, len);
    return true;
}

/* Where the host of host[:port] ends: at the bracket, or before the last colon. */
static size_t host_len(struct str text)
{
    if (str_starts(text, STR("["))) {
        size_t bracket = str_find(text, ']');

        return bracket < text.len ? bracket + 1 : text.len;
    }
    return str_rfind(text, ':');
}

/* *ret_port is 0 when there is none, or an empty one. */
static int parse_port(struct str text, uint16_t *ret_port)
{
    uint64_t port = 0;

    if (text.len > 0 && text.ptr[0] != ':') {
        return URL_BAD_PORT;
    }
    text = str_from(text, 1);
    if (text.len > 0 && (!str_parse_u64(text, UINT16_MAX, &port) || port == 0)) {
        return URL_BAD_PORT;
    }
    *ret_port = (uint16_t)port;
    return 0;
}

int url_parse_host_port(struct str text, struct host *ret_host, uint16_t *ret_port,
                        int *ret_host_error)
{
    size_t len = host_len(text);
    struct host ignored;
    uint16_t port;
    int port_error = parse_port(str_from(text, len), &port);
    int r = host_parse(str_head(text, len), port_error == 0 ? ret_host : &ignored);

    if (r != 0) {
        *ret_host_error = r;
        return URL_BAD_HOST;
    }
    if (port_error == 0) {
        *ret_port = port;
    }
    return port_error;
}

int url_parse_authority(struct str text, struct host *ret_host, uint16_t *ret_port,
                        int *ret_host_error)
{
    struct host host;
    uint16_t port;
    int r = url_parse_host_port(text, &host, &port, ret_host_error);

    if (r == 0 && port == 0) {
        r = URL_BAD_PORT;
    }
    if (r != 0) {
        return r;
    }
    *ret_host = host;
    *ret_port = port;
    return 0;
}

static size_t authority_len(struct str text)
{
    size_t len = 0;

    while (len < text.len && text.ptr[len] != '/' && text.ptr[len] != '?' && text.ptr[len] != '#') {
        len++;
    }
    return len;
}

int url_parse(struct str text, struct url *ret, int *ret_host_error)
{
    struct str userinfo = {0};
    bool has_userinfo;
    struct str scheme;
    struct str authority;
    struct str rest;
    size_t at;
    int r;

    if (!url_parse_scheme(text, &scheme)) {
        return URL_NO_SCHEME;
    }
    rest = str_from(text, scheme.len + 3);
    authority = str_head(rest, authority_len(rest));
    rest = str_from(rest, authority.len);
    /* No host holds an @, so the last one ends the userinfo whatever that holds. */
    at = str_rfind(authority, '@');
    has_userinfo = at < authority.len;
    if (has_userinfo) {
        userinfo = str_head(authority, at);
        authority = str_from(authority, at + 1);
    }
    r = url_parse_host_port(authority, &ret->host, &ret->port, ret_host_error);
    if (r == 0) {
        ret->scheme = scheme;
        ret->has_userinfo = has_userinfo;
        ret->userinfo = userinfo;
        ret->rest = rest;
    }
    return r;
}
