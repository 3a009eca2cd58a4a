// SPDX-License-Identifier: MIT
#include "base/host.h"

#include <arpa/inet.h>
#include <string.h>

#define HOST_LABEL_MAX_BYTES 63 /* RFC 1035 2.3.4 */

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_label_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || is_digit(c) || c == '-' || c == '_';
}

/* 0, or the error of the first thing that is wrong with a name without trailing dot. */
static int check_name(struct str name)
{
    size_t label_len = 0;

    for (size_t i = 0; i < name.len; i++) {
        if (name.ptr[i] != '.' && !is_label_char(name.ptr[i])) {
            return HOST_BAD_CHAR;
        }
    }
    if (name.len > HOST_NAME_MAX_BYTES) {
        return HOST_TOO_LONG;
    }
    for (size_t i = 0; i <= name.len; i++) {
        if (i < name.len && name.ptr[i] != '.') {
            label_len++;
            continue;
        }
        if (label_len == 0) {
            return HOST_BAD_LABEL;
        }
        if (label_len > HOST_LABEL_MAX_BYTES) {
            return HOST_TOO_LONG;
        }
        label_len = 0;
    }
    return 0;
}

/* Whether a reader of numbers could take label (lower case) for one: digits, or 0x and hex digits.
 */
static bool is_numeric_label(struct str label)
{
    bool hex = str_starts(label, STR("0x"));

    for (size_t i = hex ? 2 : 0; i < label.len; i++) {
        char c = label.ptr[i];

        if (!is_digit(c) && !(hex && c >= 'a' && c <= 'f')) {
            return false;
        }
    }
    return true;
}

static int parse_bracketed(struct str text, struct host *ret)
{
    struct addr addr;

    if (!str_ends(text, STR("]")) ||
        !addr_parse_ip(str_from(str_head(text, text.len - 1), 1), &addr) || addr.kind != ADDR_IP6) {
        return HOST_BAD_LITERAL;
    }
    *ret = (struct host){.is_literal = true, .addr = addr};
    return 0;
}

/* inet_aton itself reads IPv4, so that no resolver of this machine can read it otherwise. */
static int parse_name_or_ip4(struct str text, struct host *ret)
{
    char name[HOST_NAME_MAX_BYTES + 1];
    struct str last;
    struct in_addr ip4;
    int r = check_name(text);

    if (r != 0) {
        return r;
    }
    str_lower_copy(name, text.ptr, text.len);
    name[text.len] = '\0';
    last = str_make(name, text.len);
    if (str_has(last, '.')) {
        last = str_from(last, str_rfind(last, '.') + 1);
    }
    if (is_digit(last.ptr[0])) {
        if (inet_aton(name, &ip4) != 0) {
            *ret = (struct host){.is_literal = true, .addr = {.kind = ADDR_IP4}};
            memcpy(ret->addr.bytes, &ip4, sizeof(ip4));
            return 0;
        }
        if (is_numeric_label(last)) {
            return HOST_BAD_LITERAL;
        }
    }
    *ret = (struct host){.name_len = (unsigned char)text.len};
    memcpy(ret->name, name, text.len + 1);
    return 0;
}

int host_parse(struct str text, struct host *ret)
{
    if (str_starts(text, STR("["))) {
        return parse_bracketed(text, ret);
    }
    if (str_ends(text, STR("."))) {
        text = str_head(text, text.len - 1);
    }
    if (text.len == 0) {
        return HOST_EMPTY;
    }
    return parse_name_or_ip4(text, ret);
}

int host_parse_bare(struct str text, struct host *ret)
{
    struct addr addr;

    if (str_has(text, '[')) {
        return HOST_BAD_CHAR;
    }
    if (!str_has(text, ':')) {
        return host_parse(text, ret);
    }
    if (!addr_parse_ip(text, &addr)) {
        return HOST_BAD_LITERAL;
    }
    *ret = (struct host){.is_literal = true, .addr = addr};
    return 0;
}

const char *host_error_text(int error)
{
    switch ((enum host_error)error) {
    case HOST_EMPTY:
        return "it is empty";
    case HOST_TOO_LONG:
        return "it is longer than 253 bytes, or a part of it longer than 63";
    case HOST_BAD_CHAR:
        return "it holds a character other than letters, digits, '-', '_' and '.'";
    case HOST_BAD_LABEL:
        return "two dots follow each other, or one stands in front";
    case HOST_BAD_LITERAL:
        return "it looks like an address and is none";
    }
    return "it is not valid";
}

struct str host_name(const struct host *host)
{
    return host->is_literal ? str_make(NULL, 0) : str_make(host->name, host->name_len);
}

bool host_eq(const struct host *a, const struct host *b)
{
    if (a->is_literal || b->is_literal) {
        return a->is_literal && b->is_literal && addr_ip_eq(&a->addr, &b->addr);
    }
    return str_eq(host_name(a), host_name(b));
}

bool host_is_localhost(const struct host *host)
{
    struct str name = host_name(host);

    return str_eq(name, STR("localhost")) || str_ends(name, STR(".localhost"));
}

void host_put(struct text *out, const struct host *host)
{
    bool brackets = host->is_literal && host->addr.kind == ADDR_IP6;

    if (!host->is_literal) {
        text_put(out, host_name(host));
        return;
    }
    if (brackets) {
        text_char(out, '[');
    }
    addr_put(out, &host->addr);
    if (brackets) {
        text_char(out, ']');
    }
}
