// SPDX-License-Identifier: MIT
#include "conf/conf_diff.h"

#include <stddef.h>
#include <string.h>

#include "base/text.h"
#include "conf/conf.h"
#include "conf/conf_keys.h"
#include "conf/conf_state.h"
#include "conf/conf_value.h"

#define NAME_MAX_BYTES 512

struct diff {
    const struct conf *started;
    const struct conf *before;
    const struct conf *after;
    void (*tell)(void *arg, const struct conf_change *change);
    void *arg;
};

/* ------------------------------------------------------------------ keys */

static const struct conf_section *find_section(const struct conf *conf, const char *name)
{
    const struct conf_section *section = conf->state->sections;

    while (section && strcmp(section->name, name) != 0) {
        section = section->next;
    }
    return section;
}

static const void *base_of(const struct conf *conf, const char *name)
{
    const struct conf_section *section = find_section(conf, name);

    return section ? conf_section_base_const(conf, section) : NULL;
}

/* All items of a list, with commas; nothing of a section that is not there (base NULL). */
static struct str show(const void *base, const struct conf_key *key, struct text *text)
{
    size_t items = base ? conf_value_items(key, base) : 0;

    for (size_t i = 0; i < items; i++) {
        if (i > 0) {
            text_puts(text, ", ");
        }
        conf_value_put(key, base, i, text);
    }
    return text_str(text);
}

/* Neither has it in a section that is not there (base NULL). */
static bool is_same(const struct conf_key *key, const void *base_a, const void *base_b)
{
    return base_a && base_b && conf_value_eq(key, base_a, base_b);
}

static void diff_key(const struct diff *d, const char *name, const struct conf_key *key)
{
    const void *base_started = base_of(d->started, name);
    const void *base_before = base_of(d->before, name);
    const void *base_after = base_of(d->after, name);
    bool is_due = key->reload == CONF_RESTART && !is_same(key, base_started, base_after);
    char name_buf[NAME_MAX_BYTES];
    char before_buf[CONF_VALUE_TEXT_MAX];
    char after_buf[CONF_VALUE_TEXT_MAX];
    struct text full = TEXT_OVER(name_buf);
    struct text before = TEXT_OVER(before_buf);
    struct text after = TEXT_OVER(after_buf);
    struct conf_change change = {.needs_restart = is_due,
                                 .is_old = is_same(key, base_before, base_after)};

    if (change.is_old && !is_due) {
        return;
    }
    change.before = show(is_due ? base_started : base_before, key, &before);
    change.after = show(base_after, key, &after);
    if (change.before.len == 0 && change.after.len == 0) {
        return; /* not set, in a section that comes or goes */
    }
    text_puts(&full, name);
    text_char(&full, '.');
    text_puts(&full, key->name);
    change.name = text_str(&full);
    d->tell(d->arg, &change);
}

static void diff_section(const struct diff *d, const struct conf_section *section)
{
    for (size_t i = 0; i < conf_key_count; i++) {
        if (strcmp(conf_keys[i].section, section->kind->word) == 0) {
            diff_key(d, section->name, &conf_keys[i]);
        }
    }
}

static void diff_sections(const struct diff *d)
{
    for (const struct conf_section *s = d->before->state->sections; s; s = s->next) {
        diff_section(d, s);
    }
    for (const struct conf_section *s = d->after->state->sections; s; s = s->next) {
        if (!find_section(d->before, s->name)) {
            diff_section(d, s);
        }
    }
}

/* ------------------------------------------------------------------ rules */

static struct str rule_name(const struct conf_rule *rule, struct text *text)
{
    text_puts(text, rule->table);
    text_char(text, '.');
    text_puts(text, rule->name);
    return text_str(text);
}

static const struct conf_rule *find_rule(const struct conf *conf, const struct conf_rule *like)
{
    char buf[NAME_MAX_BYTES];
    struct text text = TEXT_OVER(buf);

    return conf_rule_find(conf, rule_name(like, &text));
}

static void tell_rule(const struct diff *d, const struct conf_rule *before,
                      const struct conf_rule *after)
{
    char name_buf[NAME_MAX_BYTES];
    struct text name = TEXT_OVER(name_buf);
    struct conf_change change = {
        .name = rule_name(before ? before : after, &name),
        .before = str_of(before ? before->text : ""),
        .after = str_of(after ? after->text : ""),
    };

    d->tell(d->arg, &change);
}

static void put_names(const struct conf *conf, const char *table, struct text *text)
{
    for (size_t i = 0; i < conf->rule_count; i++) {
        if (strcmp(conf->rules[i].table, table) == 0) {
            if (text->len > 0) {
                text_char(text, ',');
            }
            text_puts(text, conf->rules[i].name);
        }
    }
}

/* The table's next line from *index on, or NULL. */
static const struct conf_rule *next_rule(const struct conf *conf, const char *table, size_t *index)
{
    while (*index < conf->rule_count) {
        const struct conf_rule *rule = &conf->rules[(*index)++];

        if (strcmp(rule->table, table) == 0) {
            return rule;
        }
    }
    return NULL;
}

/* The same names, but the walk meets them in another order. */
static bool is_reordered(const struct diff *d, const char *table)
{
    size_t i = 0;
    size_t k = 0;
    bool moved = false;

    for (;;) {
        const struct conf_rule *before = next_rule(d->before, table, &i);
        const struct conf_rule *after = next_rule(d->after, table, &k);

        if (!before || !after) {
            return moved && !before && !after;
        }
        if (!find_rule(d->after, before)) {
            return false;
        }
        moved |= strcmp(before->name, after->name) != 0;
    }
}

static void diff_order(const struct diff *d, const char *table)
{
    char before_buf[CONF_VALUE_TEXT_MAX];
    char after_buf[CONF_VALUE_TEXT_MAX];
    struct text before = TEXT_OVER(before_buf);
    struct text after = TEXT_OVER(after_buf);

    if (is_reordered(d, table)) {
        put_names(d->before, table, &before);
        put_names(d->after, table, &after);
        d->tell(d->arg, &(struct conf_change){.name = str_of(table),
                                              .before = text_str(&before),
                                              .after = text_str(&after)});
    }
}

static void diff_rules(const struct diff *d)
{
    for (size_t i = 0; i < d->before->rule_count; i++) {
        const struct conf_rule *before = &d->before->rules[i];
        const struct conf_rule *after = find_rule(d->after, before);

        if (!after || strcmp(before->text, after->text) != 0) {
            tell_rule(d, before, after);
        }
    }
    for (size_t i = 0; i < d->after->rule_count; i++) {
        if (!find_rule(d->before, &d->after->rules[i])) {
            tell_rule(d, NULL, &d->after->rules[i]);
        }
    }
    for (size_t i = 0; i < conf_section_kind_count; i++) {
        if (conf_section_kinds[i].is_rules) {
            diff_order(d, conf_section_kinds[i].word);
        }
    }
}

void conf_diff(const struct conf *started, const struct conf *before, const struct conf *after,
               void (*tell)(void *arg, const struct conf_change *change), void *arg)
{
    const struct diff diff = {
        .started = started, .before = before, .after = after, .tell = tell, .arg = arg};

    diff_sections(&diff);
    diff_rules(&diff);
}
