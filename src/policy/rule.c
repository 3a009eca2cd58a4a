// SPDX-License-Identifier: MIT
#include "policy/rule.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/arena.h"
#include "base/err.h"
#include "conf/conf.h"
#include "policy/rule_read.h"

#define COMPLAINT_MAX 512

static const char *const words[] = {
    [RULE_LISTENER] = "listener",
    [RULE_PORT] = "port",
    [RULE_METHOD] = "method",
    [RULE_FROM] = "from",
    [RULE_TIME] = "time",
    [RULE_USER] = "user",
    [RULE_TO] = "to",
    [RULE_HOST] = "host",
    [RULE_HOSTS] = "hosts",
};
_Static_assert(ARRAY_LEN(words) == RULE_KIND_COUNT, "each kind has its word");

const char *rule_word(enum rule_kind kind)
{
    return words[kind];
}

void rule_complain(struct rule_reader *reader, const char *fmt, ...)
{
    const struct conf_rule *line = reader->line;
    char text[COMPLAINT_MAX];
    va_list args;

    va_start(args, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    conf_messages_add(reader->messages, false, line->origin, "%s.%s: %s", line->table, line->name,
                      text);
}

struct str rule_shown(struct str word)
{
    return str_head(word, MIN(word.len, RULE_SHOWN_MAX));
}

/* ---- Words ---- */

static size_t blanks(struct str text)
{
    size_t count = 0;

    while (count < text.len && (text.ptr[count] == ' ' || text.ptr[count] == '\t')) {
        count++;
    }
    return count;
}

static size_t word_len(struct str text)
{
    size_t len = 0;

    while (len < text.len && text.ptr[len] != ' ' && text.ptr[len] != '\t') {
        len++;
    }
    return len;
}

static struct str peek_word(const struct rule_reader *reader)
{
    struct str rest = str_from(reader->rest, blanks(reader->rest));

    return str_head(rest, word_len(rest));
}

/* Empty at the end. */
static struct str take_word(struct rule_reader *reader)
{
    struct str word = peek_word(reader);

    reader->rest = str_from(reader->rest, blanks(reader->rest) + word.len);
    return word;
}

static bool find_kind(struct str word, enum rule_kind *ret)
{
    for (unsigned i = 0; i < RULE_KIND_COUNT; i++) {
        if (str_eq(word, str_of(words[i]))) {
            *ret = (enum rule_kind)i;
            return true;
        }
    }
    return false;
}

/* Another item behind a blank. What begins a condition is none, be a comma before it or behind it:
 * where that was left over, "not" and its condition would else be items, and the line mean the
 * opposite. */
static bool is_item(struct str word)
{
    enum rule_kind kind;

    if (word.len == 0) {
        return false;
    }
    while (str_starts(word, STR(","))) {
        word = str_from(word, 1);
    }
    return !str_eq(word, STR("not")) && !find_kind(word, &kind);
}

/* A list is one value, with blanks around its commas or without. */
static struct str take_value(struct rule_reader *reader)
{
    struct str value = take_word(reader);

    while (value.len > 0 &&
           (str_ends(value, STR(",")) || str_starts(peek_word(reader), STR(",")))) {
        struct str more;

        if (!is_item(peek_word(reader))) {
            break;
        }
        more = take_word(reader);
        value.len = (size_t)(more.ptr + more.len - value.ptr);
    }
    return value;
}

/* The same where no blank tells the two apart. Who means an item of that name puts it first. */
static bool swallows_not(const struct rule_reader *reader, struct str value)
{
    enum rule_kind kind;

    return (str_eq(value, STR("not")) || str_ends(value, STR(",not"))) &&
           find_kind(peek_word(reader), &kind);
}

static bool is_clock(struct str word)
{
    return word.len > 0 && word.ptr[0] >= '0' && word.ptr[0] <= '9';
}

/* ---- Conditions ---- */

/* The line while it is read: one place for each kind. */
struct draft {
    struct rule_condition conditions[RULE_KIND_COUNT];
    bool seen[RULE_KIND_COUNT];
};

static void report_unknown(struct rule_reader *reader, struct str word)
{
    if (str_eq(word, STR("sni"))) {
        rule_complain(reader, "'sni' is not supported by this version");
    } else if (word.len == 0) {
        rule_complain(reader, "'not' stands at the end, before no condition");
    } else {
        rule_complain(reader,
                      "'%.*s' is no condition (there are from, to, host, hosts, port, method, "
                      "user, listener, time, and not before any of them)",
                      STR_ARG(rule_shown(word)));
    }
}

/* `to` and `not to` are two parts of one condition. */
static bool read_to(struct rule_reader *reader, struct str value, const struct rule_condition *how,
                    struct rule_condition *to)
{
    struct rule_addrs addrs;

    if (!rule_read_addrs(reader, value, how, &addrs)) {
        return false;
    }
    if (how->negated) {
        to->to.except = addrs;
        to->to.has_except = true;
        to->to.except_text = how->text;
    } else {
        to->to.only = addrs;
        to->to.has_only = true;
        to->text = how->text;
    }
    to->kind = RULE_TO;
    return true;
}

/* clock: what stands behind the days of `time`, else empty. */
static bool read_value(struct rule_reader *reader, struct str value, struct str clock,
                       struct rule_condition *ret)
{
    switch (ret->kind) {
    case RULE_FROM:
        return rule_read_addrs(reader, value, ret, &ret->from);
    case RULE_HOST:
        return rule_read_hosts(reader, value, ret);
    case RULE_HOSTS:
        return rule_read_files(reader, value, ret);
    case RULE_PORT:
        return rule_read_ports(reader, value, ret);
    case RULE_LISTENER:
    case RULE_METHOD:
    case RULE_USER:
        return rule_read_words(reader, value, ret);
    case RULE_TIME:
        return is_clock(value) ? rule_read_span(reader, STR(""), value, ret)
                               : rule_read_span(reader, value, clock, ret);
    case RULE_TO: /* read_to */
    case RULE_KIND_COUNT:
        break;
    }
    return false;
}

static bool stands_already(const struct draft *draft, const struct rule_condition *condition)
{
    const struct rule_condition *there = &draft->conditions[condition->kind];

    if (condition->kind == RULE_TO) {
        return condition->negated ? there->to.has_except : there->to.has_only;
    }
    return draft->seen[condition->kind];
}

static void read_condition(struct rule_reader *reader, struct draft *draft,
                           struct rule_condition condition, const char *begin)
{
    const char *word = words[condition.kind];
    struct str value = take_value(reader);
    struct str clock = STR("");
    bool is_good;

    if (value.len == 0) {
        rule_complain(reader, "'%s' wants a value", word);
        return;
    }
    if (swallows_not(reader, value)) {
        rule_complain(reader, "'not' before '%.*s' would be an item of '%s'",
                      STR_ARG(peek_word(reader)), word);
        return;
    }
    if (condition.kind == RULE_TIME && !is_clock(value) && is_clock(peek_word(reader))) {
        clock = take_word(reader);
    }
    condition.text = str_make(begin, (size_t)(reader->rest.ptr - begin));
    if (stands_already(draft, &condition)) {
        rule_complain(reader, "'%s%s' stands twice in the line", condition.negated ? "not " : "",
                      word);
        return;
    }
    draft->seen[condition.kind] = true;
    if (condition.kind == RULE_TO) {
        is_good = read_to(reader, value, &condition, &draft->conditions[RULE_TO]);
    } else {
        is_good = read_value(reader, value, clock, &condition);
        draft->conditions[condition.kind] = condition;
    }
    if (!is_good) {
        draft->conditions[condition.kind].kind = RULE_KIND_COUNT; /* no condition to judge by */
    }
}

/* False at a word that is none: nobody knows what follows it. */
static bool read_next(struct rule_reader *reader, struct draft *draft)
{
    struct str word = take_word(reader);
    const char *begin = word.ptr;
    struct rule_condition condition = {.negated = str_eq(word, STR("not"))};

    if (condition.negated) {
        word = take_word(reader);
    }
    if (!find_kind(word, &condition.kind)) {
        report_unknown(reader, word);
        return false;
    }
    read_condition(reader, draft, condition, begin);
    return true;
}

static int keep(struct rule_reader *reader, const struct draft *draft, struct rule *rule)
{
    struct rule_condition *kept = arena_alloc(reader->arena, RULE_KIND_COUNT * sizeof(*kept));

    if (!kept || reader->error) {
        return -ENOMEM;
    }
    for (unsigned i = 0; i < RULE_KIND_COUNT; i++) {
        if (draft->seen[i] && draft->conditions[i].kind != RULE_KIND_COUNT) {
            kept[rule->condition_count++] = draft->conditions[i];
        }
    }
    rule->conditions = kept;
    return 0;
}

int rule_parse(const struct conf_rule *line, struct arena *arena, struct conf_messages *messages,
               struct rule *ret)
{
    struct rule_reader reader = {
        .line = line, .arena = arena, .messages = messages, .rest = str_of(line->text)};
    struct rule rule = {.action = take_word(&reader)};
    struct draft draft = {0};
    int error;

    if (rule.action.len == 0) {
        rule_complain(&reader, "the rule is empty");
    }
    while (peek_word(&reader).len > 0 && read_next(&reader, &draft)) {
    }
    error = keep(&reader, &draft, &rule);
    if (!error) {
        *ret = rule;
    }
    return error;
}

/* ---- Looking things up ---- */

const struct rule_condition *rule_find(const struct rule *rule, enum rule_kind kind)
{
    for (size_t i = 0; i < rule->condition_count; i++) {
        if (rule->conditions[i].kind == kind) {
            return &rule->conditions[i];
        }
    }
    return NULL;
}
