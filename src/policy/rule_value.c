// SPDX-License-Identifier: MIT

/* The values that stand behind a condition's word. */

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/host.h"
#include "conf/conf.h"
#include "policy/idn.h"
#include "policy/rule_read.h"

/* ---- Lists ---- */

static size_t count_items(struct str list)
{
    size_t count = 1;

    for (size_t i = 0; i < list.len; i++) {
        count += list.ptr[i] == ',';
    }
    return count;
}

static void *make_room(struct rule_reader *reader, struct str list, size_t item_size)
{
    void *room = arena_alloc(reader->arena, count_items(list) * item_size);

    if (!room) {
        reader->error = -ENOMEM;
    }
    return room;
}

bool rule_next_item(struct rule_reader *reader, struct str *list, struct str *ret, bool *failed)
{
    if (!list->ptr) {
        return false;
    }
    *ret = str_cut(list, ',');
    if (ret->len == 0) {
        rule_complain(reader, "an item of the list is empty");
        *failed = true;
        return false;
    }
    return true;
}

static int compare_words(const void *a, const void *b)
{
    const struct str *x = a;
    const struct str *y = b;
    int order = memcmp(x->ptr, y->ptr, MIN(x->len, y->len));

    return order != 0 ? order : (x->len > y->len) - (x->len < y->len);
}

bool rule_words_have(const struct str *words, size_t count, struct str word)
{
    return word.len > 0 && bsearch(&word, words, count, sizeof(*words), compare_words) != NULL;
}

/* ---- Addresses ---- */

static const struct {
    const char *word;
    enum rule_class class;
} classes[] = {
    {"any", RULE_CLASS_ANY},         {"loopback", RULE_CLASS_LOOPBACK},
    {"private", RULE_CLASS_PRIVATE}, {"link-local", RULE_CLASS_LINK_LOCAL},
    {"public", RULE_CLASS_PUBLIC},   {"host", RULE_CLASS_HOST},
    {"self", RULE_CLASS_SELF},       {"unix", RULE_CLASS_UNIX},
};

/* 0 when the word is no class. */
static unsigned find_class(struct str word)
{
    for (size_t i = 0; i < ARRAY_LEN(classes); i++) {
        if (str_eq(word, str_of(classes[i].word))) {
            return classes[i].class;
        }
    }
    return 0;
}

static bool check_class(struct rule_reader *reader, unsigned class,
                        const struct rule_condition *condition)
{
    if (class == RULE_CLASS_SELF && condition->kind == RULE_FROM) {
        rule_complain(reader, "'from self' makes no sense: no client comes from a port that "
                              "viaduct listens on; clients of this machine are 'from host'");
    } else if (class == RULE_CLASS_UNIX && condition->kind == RULE_TO) {
        rule_complain(reader, "'to unix' makes no sense: only clients come by a unix socket");
    } else if (class == RULE_CLASS_ANY && condition->negated) {
        rule_complain(reader, "'not %s any' makes no sense: nothing is left",
                      rule_word(condition->kind));
    } else {
        return true;
    }
    return false;
}

static void warn_of_host_bits(struct rule_reader *reader, struct str item,
                              const struct addr_net *net)
{
    const struct conf_rule *line = reader->line;
    char buf[ADDR_TEXT_MAX];
    struct text addr = TEXT_OVER(buf);

    addr_put(&addr, &net->addr);
    conf_messages_add(reader->messages, true, line->origin,
                      "%s.%s: %.*s has bits set behind its prefix; it is read as %s/%u",
                      line->table, line->name, STR_ARG(item), text_cstr(&addr), net->bits);
}

static bool read_addr(struct rule_reader *reader, struct str item,
                      const struct rule_condition *condition, struct rule_addrs *addrs,
                      struct addr_net *ret_net)
{
    unsigned class = find_class(item);
    bool host_bits = false;

    if (class != 0) {
        addrs->classes |= class;
        return check_class(reader, class, condition);
    }
    if (!addr_parse_net(item, ret_net, &host_bits)) {
        rule_complain(
            reader,
            "'%.*s' is no address, no network as in 10.0.0.0/8, and none of any, loopback, "
            "link-local, private, public, host, self, unix",
            STR_ARG(rule_shown(item)));
        return false;
    }
    if (host_bits) {
        warn_of_host_bits(reader, item, ret_net);
    }
    addrs->net_count++;
    return true;
}

bool rule_read_addrs(struct rule_reader *reader, struct str value,
                     const struct rule_condition *condition, struct rule_addrs *ret)
{
    struct addr_net *nets = make_room(reader, value, sizeof(*nets));
    struct rule_addrs addrs = {.nets = nets};
    bool failed = !nets;
    struct str item;

    while (!failed && rule_next_item(reader, &value, &item, &failed)) {
        failed = !read_addr(reader, item, condition, &addrs, &nets[addrs.net_count]);
    }
    *ret = addrs;
    return !failed;
}

/* ---- Host names ---- */

static void report_host(struct rule_reader *reader, struct str item, int error)
{
    char buf[IDN_TEXT_MAX];
    struct text ascii = TEXT_OVER(buf);

    if (idn_to_ascii(item, &ascii)) {
        rule_complain(reader, "'%.*s' is not ASCII: write %s", STR_ARG(rule_shown(item)),
                      text_cstr(&ascii));
        return;
    }
    rule_complain(reader, "'%.*s' is no host name: %s", STR_ARG(rule_shown(item)),
                  host_error_text(error));
}

/* name with each '*' as c, so that host_parse can say what it is. 0 or enum host_error. */
static int parse_filled(struct str name, char c, struct host *ret)
{
    char buf[HOST_NAME_MAX_BYTES + 1];

    if (name.len > sizeof(buf)) {
        return HOST_TOO_LONG;
    }
    for (size_t i = 0; i < name.len; i++) {
        buf[i] = name.ptr[i] == '*' ? c : name.ptr[i];
    }
    return host_parse(str_make(buf, name.len), ret);
}

static bool has_digit(struct str text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] >= '0' && text.ptr[i] <= '9') {
            return true;
        }
    }
    return false;
}

/* An address, or a pattern such as 10.0.0.* that was meant for addresses. */
static bool is_address(struct str name)
{
    struct host host;
    struct addr addr;

    return addr_parse_ip(name, &addr) || str_starts(name, STR("[")) ||
           (has_digit(name) && parse_filled(name, '1', &host) == 0 && host.is_literal);
}

/* "*", and longer ways to say so. */
static bool is_every_name(struct str name)
{
    for (size_t i = 0; i < name.len; i++) {
        if (name.ptr[i] != '*') {
            return false;
        }
    }
    return name.len > 0;
}

static bool check_host(struct rule_reader *reader, struct str item, struct str name)
{
    struct host host;
    int error;

    if (is_every_name(name)) {
        rule_complain(reader, "'host %.*s' would be every name: leave the condition out",
                      STR_ARG(item));
        return false;
    }
    if (is_address(name)) {
        rule_complain(reader, "'%.*s': host never matches an address; use 'to'",
                      STR_ARG(rule_shown(item)));
        return false;
    }
    error = parse_filled(name, 'a', &host);
    if (error != 0) {
        report_host(reader, item, error);
        return false;
    }
    return true;
}

static bool read_host(struct rule_reader *reader, struct str item, struct rule_host *ret)
{
    bool is_below = str_starts(item, STR("."));
    struct str name = str_from(item, is_below ? 1 : 0);
    char *copy;

    if (str_ends(name, STR("."))) {
        name.len--;
    }
    if (str_ends(name, STR("."))) { /* the root's dot does not count, once */
        report_host(reader, item, HOST_BAD_LABEL);
        return false;
    }
    if (!check_host(reader, item, name)) {
        return false;
    }
    copy = arena_alloc_bytes(reader->arena, name.len);
    if (!copy) {
        reader->error = -ENOMEM;
        return false;
    }
    for (size_t i = 0; i < name.len; i++) {
        copy[i] = str_lower(name.ptr[i]);
    }
    name.ptr = copy;
    *ret = (struct rule_host){.name = name, .is_below = is_below, .is_glob = str_has(name, '*')};
    return true;
}

bool rule_read_hosts(struct rule_reader *reader, struct str value, struct rule_condition *ret)
{
    struct rule_host *hosts = make_room(reader, value, sizeof(*hosts));
    bool failed = !hosts;
    size_t count = 0;
    struct str item;

    while (!failed && rule_next_item(reader, &value, &item, &failed)) {
        failed = !read_host(reader, item, &hosts[count]);
        count++;
    }
    ret->hosts.items = hosts;
    ret->hosts.count = count;
    return !failed;
}

/* ---- Files ---- */

/* Absolute and NUL-terminated; a relative path counts from the directory of the line's file. */
static bool read_path(struct rule_reader *reader, struct str item, struct str *ret)
{
    char buf[PATH_MAX];
    struct text path = TEXT_OVER(buf);

    if (!str_starts(item, STR("/"))) {
        text_puts(&path, reader->line->dir);
        text_char(&path, '/');
    }
    text_put(&path, item);
    text_char(&path, '\0');
    if (path.full) {
        rule_complain(reader, "the path '%.*s...' is too long", STR_ARG(rule_shown(item)));
        return false;
    }
    *ret = arena_copy(reader->arena, text_str(&path));
    if (!ret->ptr) {
        reader->error = -ENOMEM;
        return false;
    }
    ret->len--;
    return true;
}

bool rule_read_files(struct rule_reader *reader, struct str value, struct rule_condition *ret)
{
    struct str *paths = make_room(reader, value, sizeof(*paths));
    bool failed = !paths;
    size_t count = 0;
    struct str item;

    while (!failed && rule_next_item(reader, &value, &item, &failed)) {
        failed = !read_path(reader, item, &paths[count]);
        count++;
    }
    ret->files.paths = paths;
    ret->files.lists = NULL;
    ret->files.count = count;
    return !failed;
}

/* ---- Ports ---- */

static int compare_ports(const void *a, const void *b)
{
    const struct rule_ports *x = a;
    const struct rule_ports *y = b;

    return (x->first > y->first) - (x->first < y->first);
}

static bool read_port(struct str text, uint16_t *ret)
{
    uint64_t port;

    if (!str_parse_u64(text, UINT16_MAX, &port) || port == 0) {
        return false;
    }
    *ret = (uint16_t)port;
    return true;
}

static bool read_ports(struct rule_reader *reader, struct str item, struct rule_ports *ret)
{
    size_t dash = str_find(item, '-');
    bool is_good = read_port(str_head(item, dash), &ret->first);

    ret->last = ret->first;
    if (is_good && dash < item.len) {
        is_good = read_port(str_from(item, dash + 1), &ret->last) && ret->first <= ret->last;
    }
    if (!is_good) {
        rule_complain(reader, "'%.*s' is no port from 1 to 65535 and no range as in 8000-8999",
                      STR_ARG(rule_shown(item)));
    }
    return is_good;
}

/* Sorts, and joins what overlaps or touches; returns how many are left. */
static size_t join_ports(struct rule_ports *ports, size_t count)
{
    size_t joined = 0;

    qsort(ports, count, sizeof(*ports), compare_ports);
    for (size_t i = 0; i < count; i++) {
        if (joined > 0 && ports[i].first <= ports[joined - 1].last + 1) {
            ports[joined - 1].last = MAX(ports[joined - 1].last, ports[i].last);
        } else {
            ports[joined++] = ports[i];
        }
    }
    return joined;
}

bool rule_read_ports(struct rule_reader *reader, struct str value, struct rule_condition *ret)
{
    struct rule_ports *ports = make_room(reader, value, sizeof(*ports));
    bool failed = !ports;
    size_t count = 0;
    struct str item;

    while (!failed && rule_next_item(reader, &value, &item, &failed)) {
        failed = !read_ports(reader, item, &ports[count]);
        count++;
    }
    ret->ports.items = ports;
    ret->ports.count = failed ? 0 : join_ports(ports, count);
    return !failed;
}

const struct rule_ports *rule_ports_find(const struct rule_ports *ports, size_t count,
                                         uint16_t port)
{
    size_t low = 0;
    size_t high = count;

    while (low < high) { /* to the first range that ends at the port or behind it */
        size_t middle = low + (high - low) / 2;

        if (ports[middle].last < port) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < count && ports[low].first <= port ? &ports[low] : NULL;
}

/* ---- Words ---- */

static bool is_token(struct str word)
{
    for (size_t i = 0; i < word.len; i++) {
        char c = str_lower(word.ptr[i]);
        bool is_alnum = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');

        if (!is_alnum && !str_has(STR("!#$%&'*+-.^_`|~"), c)) {
            return false;
        }
    }
    return true;
}

/* Methods are told apart by case (RFC 9110 9.1), and all that are registered are upper case. */
static bool check_method(struct rule_reader *reader, struct str word)
{
    bool has_lower = false;

    if (str_eq(word, STR("*"))) { /* a token, and so a method, which nobody means */
        rule_complain(reader, "'method *' would be every method: leave the condition out");
        return false;
    }
    for (size_t i = 0; i < word.len; i++) {
        has_lower = has_lower || (word.ptr[i] >= 'a' && word.ptr[i] <= 'z');
    }
    if (has_lower || !is_token(word)) {
        rule_complain(reader, "'%.*s' is no method: they are written as in GET, CONNECT",
                      STR_ARG(rule_shown(word)));
        return false;
    }
    return true;
}

/* What stands in Basic credentials before the first colon (RFC 7617 2). */
static bool check_user(struct rule_reader *reader, struct str word)
{
    if (str_has(word, ':')) {
        rule_complain(reader, "'%.*s': no user's name holds a colon", STR_ARG(rule_shown(word)));
        return false;
    }
    return true;
}

bool rule_read_words(struct rule_reader *reader, struct str value, struct rule_condition *ret)
{
    struct str *words = make_room(reader, value, sizeof(*words));
    bool failed = !words;
    size_t count = 0;
    struct str item;

    ret->words.is_any = false;
    while (!failed && rule_next_item(reader, &value, &item, &failed)) {
        failed = (ret->kind == RULE_METHOD && !check_method(reader, item)) ||
                 (ret->kind == RULE_USER && !check_user(reader, item));
        ret->words.is_any = ret->words.is_any || (ret->kind == RULE_USER && str_eq(item, STR("*")));
        words[count++] = item;
    }
    if (!failed) {
        qsort(words, count, sizeof(*words), compare_words);
    }
    if (!failed && ret->words.is_any && ret->negated) {
        rule_complain(reader,
                      "'not user *' cannot be: a client without credentials is no user yet");
        failed = true;
    }
    ret->words.items = words;
    ret->words.count = count;
    return !failed;
}
