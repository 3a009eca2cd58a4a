// SPDX-License-Identifier: MIT
#include "http/message.h"

#include "base/attr.h"

static const struct {
    const char *text;
    enum method method;
} known_methods[] = {
    {"GET", METHOD_GET},         {"POST", METHOD_POST},   {"CONNECT", METHOD_CONNECT},
    {"HEAD", METHOD_HEAD},       {"PUT", METHOD_PUT},     {"DELETE", METHOD_DELETE},
    {"OPTIONS", METHOD_OPTIONS}, {"TRACE", METHOD_TRACE},
};

/* The IANA method registry's idempotent ones. */
static const char *const idempotent_methods[] = {
    "GET",
    "HEAD",
    "OPTIONS",
    "PUT",
    "DELETE",
    "TRACE",
    "PROPFIND",
    "REPORT",
    "SEARCH",
    "QUERY",
    "ACL",
    "BASELINE-CONTROL",
    "BIND",
    "CHECKIN",
    "CHECKOUT",
    "COPY",
    "LABEL",
    "LINK",
    "MERGE",
    "MKACTIVITY",
    "MKCALENDAR",
    "MKCOL",
    "MKREDIRECTREF",
    "MKWORKSPACE",
    "MOVE",
    "ORDERPATCH",
    "PROPPATCH",
    "REBIND",
    "UNBIND",
    "UNCHECKOUT",
    "UNLINK",
    "UNLOCK",
    "UPDATE",
    "UPDATEREDIRECTREF",
    "VERSION-CONTROL",
};

enum method method_identify(struct str text)
{
    for (size_t i = 0; i < ARRAY_LEN(known_methods); i++) {
        if (str_eq(text, str_of(known_methods[i].text))) {
            return known_methods[i].method;
        }
    }
    return METHOD_OTHER;
}

bool method_is_idempotent(struct str text)
{
    for (size_t i = 0; i < ARRAY_LEN(idempotent_methods); i++) {
        if (str_eq(text, str_of(idempotent_methods[i]))) {
            return true;
        }
    }
    return false;
}
