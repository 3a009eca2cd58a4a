// SPDX-License-Identifier: MIT

/* From the words of the command line to a question. */

#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/url.h"
#include "conf/args.h"
#include "conf/conf.h"
#include "http/h1_parse.h"
#include "http/target.h"
#include "log/escape.h"
#include "policy/auth_users.h"
#include "policy/snapshot.h"
#include "server/explain.h"

#define HTTPS_PORT 443
#define TIME_PATTERN "dddd-dd-dd dd:dd"

struct reader {
    const struct args_explain *words;
    const struct snapshot *snapshot;
    struct explain_question *question;
    char *error; /* borrowed */
    size_t cap;
};

static int wrong(const struct reader *reader, const char *fmt, ...) PRINTF_LIKE(2, 3);

static int wrong(const struct reader *reader, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    (void)vsnprintf(reader->error, reader->cap, fmt, args);
    va_end(args);
    escape_blank(reader->error);
    return EXPLAIN_WRONG;
}

/* ---- The request ---- */

/* A client asks a proxy for a tunnel to the host of such a URL. */
static int read_https(const struct reader *reader)
{
    struct explain_question *question = reader->question;
    struct url url;
    int host_error;

    if (reader->words->method && !str_eq(question->method, STR("CONNECT"))) {
        return wrong(reader, "--method %s: an https URL goes through a proxy as CONNECT",
                     reader->words->method);
    }
    if (url_parse(question->target, &url, &host_error) != 0 || url.has_userinfo) {
        return wrong(reader, "'%s' is not a URL that a client could ask for",
                     reader->words->target);
    }
    question->method = STR("CONNECT");
    question->host = url.host;
    question->port = url.port != 0 ? url.port : HTTPS_PORT;
    return 0;
}

static int read_as_request(const struct reader *reader)
{
    struct explain_question *question = reader->question;
    struct arena_pool pool;
    struct arena arena;
    struct target target;
    int r;

    arena_pool_init(&pool, NULL, NULL);
    arena_init(&arena, &pool);
    r = target_parse(question->method, question->target, &arena, &target);
    arena_reset(&arena);
    if (r > 0) {
        return wrong(reader, "%.*s '%s': %s", STR_ARG(question->method), reader->words->target,
                     target_error_text(r));
    }
    if (r == 0) {
        question->host = target.host;
        question->port = target.port;
    }
    return r;
}

static int read_target(const struct reader *reader)
{
    struct explain_question *question = reader->question;
    struct str scheme;
    bool has_scheme;

    question->target = str_of(reader->words->target);
    has_scheme = url_parse_scheme(question->target, &scheme);
    question->method = has_scheme ? STR("GET") : STR("CONNECT");
    if (reader->words->method) {
        question->method = str_of(reader->words->method);
    }
    if (!h1_parser_knows_method(question->method)) {
        return wrong(reader,
                     "--method '%s': no method that this proxy knows (they are written in "
                     "capitals); it answers 501",
                     reader->words->method);
    }
    return has_scheme && str_ieq(scheme, STR("https")) ? read_https(reader)
                                                       : read_as_request(reader);
}

/* ---- The client ---- */

/* As accept(2) would have it: an IPv4-mapped address is the IPv4 address. */
static struct addr as_accepted(const struct addr *addr)
{
    struct sockaddr_storage sa;

    (void)addr_to_sockaddr(addr, &sa);
    return addr_from_sockaddr(&sa);
}

static int read_client(const struct reader *reader)
{
    struct str word = str_of(reader->words->client ? reader->words->client : "127.0.0.1");
    struct addr addr = {.kind = ADDR_UNIX, .uid = (uint32_t)getuid()};
    uint64_t uid;

    if (str_starts(word, STR("unix:")) && str_parse_u64(str_from(word, 5), UINT32_MAX, &uid)) {
        addr.uid = (uint32_t)uid;
    } else if (addr_parse_ip(word, &addr)) {
        addr = as_accepted(&addr);
    } else if (!str_eq(word, STR("unix"))) {
        return wrong(reader, "--client '%s' is neither an address nor unix[:UID]",
                     reader->words->client);
    }
    reader->question->client = addr;
    return 0;
}

static int read_listener(const struct reader *reader)
{
    const struct conf *conf = reader->snapshot->conf;
    const char *word = reader->words->listener;

    for (size_t i = 0; i < conf->listener_count; i++) {
        if (!word || strcmp(word, conf->listeners[i].name) == 0) {
            reader->question->listener = str_of(conf->listeners[i].name);
            return 0;
        }
    }
    return wrong(reader, "--listener: there is no [listen %s]", word ? word : "");
}

static int read_user(const struct reader *reader)
{
    const struct auth_users *users = reader->snapshot->users;
    struct str user = str_of(reader->words->user);

    if (reader->words->user && user.len == 0) {
        return wrong(reader, "--user wants a user's name");
    }
    reader->question->user = user;
    reader->question->is_unknown_user = user.len > 0 && users && !auth_users_find(users, user);
    return 0;
}

/* ---- The time ---- */

static int digits(struct str text, size_t start, size_t len)
{
    int value = 0;

    for (size_t i = start; i < start + len; i++) {
        value = value * 10 + (text.ptr[i] - '0');
    }
    return value;
}

static bool looks_like_time(struct str text)
{
    struct str pattern = STR(TIME_PATTERN);

    for (size_t i = 0; i < MIN(text.len, pattern.len); i++) {
        bool is_digit = text.ptr[i] >= '0' && text.ptr[i] <= '9';

        if (pattern.ptr[i] == 'd' ? !is_digit : text.ptr[i] != pattern.ptr[i]) {
            return false;
        }
    }
    return text.len == pattern.len;
}

/* The weekday of a date that exists, -1 of another. */
static int weekday(int year, int month, int day)
{
    struct tm tm = {.tm_year = year - 1900, .tm_mon = month - 1, .tm_mday = day};

    (void)timegm(&tm); /* makes 1 March of 29 February, where there is none */
    return tm.tm_year == year - 1900 && tm.tm_mon == month - 1 ? tm.tm_wday : -1;
}

static int read_time(const struct reader *reader)
{
    struct str text = str_of(reader->words->time);
    int day;
    int hour;
    int minute;

    if (!reader->words->time) {
        return 0;
    }
    day = looks_like_time(text)
              ? weekday(digits(text, 0, 4), digits(text, 5, 2), digits(text, 8, 2))
              : -1;
    hour = day >= 0 ? digits(text, 11, 2) : 0;
    minute = day >= 0 ? digits(text, 14, 2) : 0;
    if (day < 0 || hour > 23 || minute > 59) {
        return wrong(reader, "--time '%s' is no 'YYYY-MM-DD HH:MM'", reader->words->time);
    }
    reader->question->time_text = text;
    reader->question->time = (struct local_time){
        .known = true,
        .weekday = (unsigned char)day,
        .minute = (unsigned short)(hour * 60 + minute),
    };
    return 0;
}

/* ---- The addresses ---- */

static int read_addresses(const struct reader *reader)
{
    struct explain_question *question = reader->question;
    struct str rest = str_of(reader->words->resolve);

    if (rest.ptr && question->host.is_literal) {
        return wrong(reader, "--resolve: '%s' is an address already", reader->words->target);
    }
    while (rest.ptr) {
        struct str word = str_cut(&rest, ',');

        if (question->addr_count == EXPLAIN_MAX_ADDRS) {
            return wrong(reader, "--resolve: %d addresses are the most", EXPLAIN_MAX_ADDRS);
        }
        if (!addr_parse_ip(word, &question->addrs[question->addr_count++])) {
            return wrong(reader, "--resolve: '%.*s' is no address", STR_ARG(word));
        }
    }
    return 0;
}

int explain_read(const struct args_explain *words, const struct snapshot *snapshot,
                 struct explain_question *ret, char *error, size_t cap)
{
    static int (*const parts[])(const struct reader *reader) = {
        read_target, read_client, read_listener, read_user, read_time, read_addresses,
    };
    const struct reader reader = {
        .words = words, .snapshot = snapshot, .question = ret, .error = error, .cap = cap};
    int r = 0;

    *ret = (struct explain_question){0};
    for (size_t i = 0; i < ARRAY_LEN(parts) && r == 0; i++) {
        r = parts[i](&reader);
    }
    return r;
}
