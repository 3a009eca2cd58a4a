// SPDX-License-Identifier: MIT
#include "policy/domains_line.h"

#include <string.h>

#include "base/host.h"

/* Names of the machine itself, with which the usual hosts-file begins. */
static const struct str local_names[] = {
    {"localhost.localdomain", sizeof("localhost.localdomain") - 1},
    {"local", sizeof("local") - 1},
    {"broadcasthost", sizeof("broadcasthost") - 1},
    {"ip6-localhost", sizeof("ip6-localhost") - 1},
    {"ip6-loopback", sizeof("ip6-loopback") - 1},
    {"ip6-localnet", sizeof("ip6-localnet") - 1},
    {"ip6-mcastprefix", sizeof("ip6-mcastprefix") - 1},
    {"ip6-allnodes", sizeof("ip6-allnodes") - 1},
    {"ip6-allrouters", sizeof("ip6-allrouters") - 1},
    {"ip6-allhosts", sizeof("ip6-allhosts") - 1},
};

/* What stands in filters that are more than a name. */
#define FILTER_CHARS "@$/^|*~#?&"

static bool is_blank(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static struct str trim(struct str s)
{
    while (s.len > 0 && is_blank(s.ptr[0])) {
        s = str_from(s, 1);
    }
    while (s.len > 0 && is_blank(s.ptr[s.len - 1])) {
        s.len--;
    }
    return s;
}

/* The first word of *rest, which loses it and the blanks around it. */
static struct str next_word(struct str *rest)
{
    struct str word = trim(*rest);
    size_t len = 0;

    while (len < word.len && !is_blank(word.ptr[len])) {
        len++;
    }
    *rest = trim(str_from(word, len));
    return str_head(word, len);
}

/* Without the comment that begins the line or stands behind a blank. */
static struct str cut_comment(struct str line)
{
    for (size_t at = str_find(line, '#'); at < line.len;
         at += 1 + str_find(str_from(line, at + 1), '#')) {
        if (at == 0 || is_blank(line.ptr[at - 1])) {
            return trim(str_head(line, at));
        }
    }
    return line;
}

static bool is_filter(struct str entry)
{
    for (size_t i = 0; i < entry.len; i++) {
        if (entry.ptr[i] != '\0' && strchr(FILTER_CHARS, entry.ptr[i])) {
            return true;
        }
    }
    return false;
}

/* Of a UTF-8 character with more than one byte: how many follow the first. -1: it begins none. */
static int utf8_tail(unsigned char first)
{
    if (first >= 0xc2 && first <= 0xdf) {
        return 1;
    }
    if (first >= 0xe0 && first <= 0xef) {
        return 2;
    }
    return first >= 0xf0 && first <= 0xf4 ? 3 : -1;
}

/* One word with characters beyond ASCII in it, in what looks like UTF-8. */
static bool is_foreign(struct str entry)
{
    bool found = false;

    for (size_t i = 0; i < entry.len; i++) {
        unsigned char c = (unsigned char)entry.ptr[i];
        int tail = c < 0x80 ? 0 : utf8_tail(c);

        if (c <= ' ' || tail < 0 || (size_t)tail >= entry.len - i) {
            return false;
        }
        found = found || tail > 0;
        for (; tail > 0; tail--) {
            if (((unsigned char)entry.ptr[++i] & 0xc0) != 0x80) {
                return false;
            }
        }
    }
    return found;
}

static const char *fault_text(int error, struct str name)
{
    struct str rest = name;

    (void)next_word(&rest);
    switch (error) {
    case HOST_EMPTY:
        return "a name is missing";
    case HOST_TOO_LONG:
        return "a name has at most 253 characters, and 63 between two dots";
    case HOST_BAD_LABEL:
        return "a name has no two dots in a row";
    case HOST_BAD_LITERAL:
        return "what ends in a number is no name, and this is no address";
    default:
        return rest.len > 0 ? "several names can stand behind an address only"
                            : "a name is made of letters, digits, '-', '_' and dots";
    }
}

/* Counts an entry in which host_parse did not take name for a name. */
static int pass_over(struct domains_reader *reader, struct str entry, struct str name, int error)
{
    if (is_foreign(name) && !is_filter(name)) {
        reader->counts.foreign++;
        return 0;
    }
    if (is_filter(entry)) {
        reader->counts.filters++;
        return 0;
    }
    reader->fault = fault_text(error, name);
    return DOMAINS_LINE_BROKEN;
}

static int add_host(struct domains_reader *reader, const struct host *host, unsigned flags)
{
    if (host->is_literal) {
        reader->counts.addresses++;
        return 0;
    }
    reader->entries++;
    return domains_set_add(&reader->set, host_name(host), flags);
}

/* A line with one name in it, in one of the forms that say how far it reaches. */
static int read_entry(struct domains_reader *reader, struct str entry)
{
    unsigned flags = DOMAINS_EXACT | DOMAINS_BELOW;
    struct str name = entry;
    struct host host;
    int error;

    if (str_starts(entry, STR("||")) && str_ends(entry, STR("^"))) {
        name = str_head(str_from(entry, 2), entry.len - 3);
    } else if (str_starts(entry, STR("="))) {
        name = str_from(entry, 1);
        flags = DOMAINS_EXACT;
    } else if (str_starts(entry, STR("*."))) {
        name = str_from(entry, 2);
        flags = DOMAINS_BELOW;
    } else if (str_starts(entry, STR("."))) {
        name = str_from(entry, 1);
    }
    error = host_parse_bare(name, &host);
    return error ? pass_over(reader, entry, name, error) : add_host(reader, &host, flags);
}

static bool is_local(const struct host *host)
{
    if (host_is_localhost(host)) {
        return true;
    }
    for (size_t i = 0; i < ARRAY_LEN(local_names); i++) {
        if (str_eq(host_name(host), local_names[i])) {
            return true;
        }
    }
    return false;
}

static int read_hosts_name(struct domains_reader *reader, struct str word)
{
    struct host host;
    int error = host_parse_bare(word, &host);

    if (error) {
        return pass_over(reader, word, word, error);
    }
    if (is_local(&host)) {
        reader->counts.locals++;
        return 0;
    }
    return add_host(reader, &host, DOMAINS_EXACT | DOMAINS_BELOW);
}

/* What stands behind the address of a hosts-file's line; '#' begins a comment anywhere in it. */
static int read_hosts_names(struct domains_reader *reader, struct str names)
{
    int result = 0;

    names = trim(str_head(names, str_find(names, '#')));
    if (names.len == 0) {
        reader->counts.addresses++;
    }
    while (names.len > 0) {
        int r = read_hosts_name(reader, next_word(&names));

        if (r < 0) {
            return r;
        }
        result = MAX(result, r);
    }
    return result;
}

/* An IPv6 address may have its zone. */
static bool is_address(struct str word)
{
    struct host host;

    word = str_head(word, str_find(word, '%'));
    for (size_t i = 0; i < word.len; i++) {
        char c = str_lower(word.ptr[i]);

        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || c == '.' || c == ':' ||
              c == 'x')) {
            return false;
        }
    }
    return host_parse_bare(word, &host) == 0 && host.is_literal;
}

int domains_line_read(struct domains_reader *reader, struct str line)
{
    struct str rest;

    /* Of a file, or of one of those that were put together in it. */
    line = str_skip_bom(line);
    line = cut_comment(trim(line));
    if (line.len == 0 || line.ptr[0] == '!' ||
        (line.ptr[0] == '[' && line.ptr[line.len - 1] == ']')) {
        return 0;
    }
    rest = line;
    return is_address(next_word(&rest)) ? read_hosts_names(reader, rest) : read_entry(reader, line);
}
