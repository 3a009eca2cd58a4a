// SPDX-License-Identifier: MIT
#include "http/target.h"

#include <errno.h>

#include "base/arena.h"
#include "base/url.h"

#define HTTP_PORT 80

/* Visible ASCII. A fragment is never sent (RFC 9112 3.2), so '#' is as foreign here as a blank. */
static const bool good_chars[256] = {
    ['!' ... '"'] = true,
    ['$' ... '~'] = true,
};

static bool has_bad_char(struct str text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (!good_chars[(unsigned char)text.ptr[i]]) {
            return true;
        }
    }
    return false;
}

/* What is wrong behind a scheme that was found good. */
static int url_to_target_error(int error)
{
    return error == URL_BAD_PORT ? TARGET_BAD_PORT : TARGET_BAD_HOST;
}

static int parse_authority_form(struct str text, struct target *ret)
{
    int host_error;
    int r;

    if (str_has(text, '/') || str_has(text, '?') || str_eq(text, STR("*"))) {
        return TARGET_MALFORMED;
    }
    if (str_has(text, '@')) {
        return TARGET_USERINFO;
    }
    r = url_parse_authority(text, &ret->host, &ret->port, &host_error);
    if (r != 0) {
        return url_to_target_error(r);
    }
    ret->form = TARGET_AUTHORITY;
    ret->origin_form = STR("");
    return 0;
}

/* rest is what stood behind the authority: "", "/..." or "?...". */
static int make_origin_form(struct str method, struct str rest, struct arena *arena,
                            struct str *ret)
{
    struct str text = STR("/");
    int r;

    if (rest.len == 0) {
        *ret = str_eq(method, STR("OPTIONS")) ? STR("*") : text;
        return 0;
    }
    if (rest.ptr[0] == '/') {
        *ret = rest;
        return 0;
    }
    text = arena_copy(arena, text);
    if (!text.ptr) {
        return -ENOMEM;
    }
    r = arena_append(arena, &text, rest.ptr, rest.len);
    if (r == 0) {
        *ret = text;
    }
    return r;
}

static int parse_absolute_form(struct str method, struct str text, struct arena *arena,
                               struct target *ret)
{
    struct str scheme;
    struct url url;
    int host_error;
    int r;

    if (!url_parse_scheme(text, &scheme)) {
        return TARGET_MALFORMED;
    }
    if (str_ieq(scheme, STR("https"))) {
        return TARGET_HTTPS;
    }
    if (!str_ieq(scheme, STR("http"))) {
        return TARGET_SCHEME;
    }
    r = url_parse(text, &url, &host_error);
    if (r != 0) {
        return url_to_target_error(r);
    }
    if (url.has_userinfo) {
        return TARGET_USERINFO;
    }
    r = make_origin_form(method, url.rest, arena, &ret->origin_form);
    if (r == 0) {
        ret->form = TARGET_ABSOLUTE;
        ret->host = url.host;
        ret->port = url.port != 0 ? url.port : HTTP_PORT;
    }
    return r;
}

int target_parse(struct str method, struct str text, struct arena *arena, struct target *ret)
{
    if (has_bad_char(text)) {
        return TARGET_BAD_CHAR;
    }
    if (str_eq(method, STR("CONNECT"))) {
        return parse_authority_form(text, ret);
    }
    if (str_starts(text, STR("/")) || str_eq(text, STR("*"))) {
        return TARGET_NOT_PROXY;
    }
    return parse_absolute_form(method, text, arena, ret);
}

const char *target_error_text(int error)
{
    switch ((enum target_error)error) {
    case TARGET_NOT_PROXY:
        return "the request names a path but no host, as one does to a web server";
    case TARGET_SCHEME:
        return "only http:// targets can be fetched";
    case TARGET_HTTPS:
        return "https:// targets are reached with CONNECT, not fetched by the proxy";
    case TARGET_BAD_HOST:
        return "the target's host is missing or not valid";
    case TARGET_BAD_PORT:
        return "the target's port is missing or not a number from 1 to 65535";
    case TARGET_USERINFO:
        return "the target holds a user name or password before its host";
    case TARGET_BAD_CHAR:
        return "the target holds a blank, a '#', a control character or one that is not ASCII";
    case TARGET_MALFORMED:
        return "the target is neither a http:// URL nor the host:port of a CONNECT";
    }
    return "the target is not valid";
}
