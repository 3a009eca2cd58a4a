// SPDX-License-Identifier: MIT
#include "base/text.h"
#include "conf/conf.h"
#include "conf/conf_keys.h"
#include "conf/conf_state.h"
#include "conf/conf_value.h"

struct dump {
    const struct conf *conf;
    const struct conf_dump_options *options;
};

static void put_cstr(const struct dump *dump, const char *text)
{
    dump->options->put(dump->options->arg, str_of(text));
}

/* Each address of a listener knows its own line; other values know where their first line stood. */
static struct conf_origin item_origin(const struct conf_key *key, const void *base, size_t index,
                                      const struct conf_slot *slot)
{
    if (key->type == CONF_TYPE_BINDS) {
        return ((const struct conf_listener *)base)->binds[index].origin;
    }
    return slot->origin;
}

static void dump_origin(const struct dump *dump, struct conf_origin origin)
{
    char buf[CONF_ORIGIN_TEXT_MAX];
    struct text comment = TEXT_OVER(buf);

    conf_origin_put(&comment, origin);
    put_cstr(dump, " ; ");
    put_cstr(dump, text_cstr(&comment));
}

static void dump_line(const struct dump *dump, const struct conf_key *key, struct str value,
                      struct conf_origin origin)
{
    put_cstr(dump, key->name);
    put_cstr(dump, value.len > 0 ? " = " : " =");
    dump->options->put(dump->options->arg, value);
    dump_origin(dump, origin);
    put_cstr(dump, key->reload == CONF_RESTART ? "; restart to change\n" : "\n");
}

static void dump_key(const struct dump *dump, const struct conf_section *section,
                     const struct conf_key *key)
{
    const void *base = conf_section_base_const(dump->conf, section);
    const struct conf_slot *slot = &section->slots[conf_key_index(key)];
    size_t items = conf_value_items(key, base);

    for (size_t i = 0; i < items; i++) {
        char buf[CONF_VALUE_TEXT_MAX];
        struct text value = TEXT_OVER(buf);

        conf_value_put(key, base, i, &value);
        dump_line(dump, key, text_str(&value), item_origin(key, base, i, slot));
    }
    if (items == 0) {
        dump_line(dump, key, str_of(key->none), slot->origin);
    }
}

static void dump_rules(const struct dump *dump, const char *table)
{
    const struct conf *conf = dump->conf;

    for (size_t i = 0; i < conf->rule_count; i++) {
        const struct conf_rule *rule = &conf->rules[i];

        if (!str_eq(str_of(rule->table), str_of(table))) {
            continue;
        }
        put_cstr(dump, rule->name);
        put_cstr(dump, " = ");
        if (dump->options->put_rule) {
            dump->options->put_rule(rule, dump->options->put, dump->options->arg);
        } else {
            put_cstr(dump, rule->text);
        }
        dump_origin(dump, rule->origin);
        put_cstr(dump, "\n");
    }
}

static void dump_section(const struct dump *dump, const struct conf_section *section)
{
    put_cstr(dump, "\n[");
    put_cstr(dump, section->name);
    put_cstr(dump, "]\n");
    for (size_t i = 0; i < conf_key_count; i++) {
        if (str_eq(str_of(conf_keys[i].section), str_of(section->kind->word))) {
            dump_key(dump, section, &conf_keys[i]);
        }
    }
    dump_rules(dump, section->kind->word);
}

/* No key is a secret yet: options->show_secrets changes nothing. */
void conf_dump(const struct conf *conf, const struct conf_dump_options *options)
{
    const struct dump dump = {conf, options};

    put_cstr(&dump, "# effective configuration of ");
    put_cstr(&dump, conf->source ? conf->source : "the built-in defaults");
    put_cstr(&dump, "\n");
    for (size_t i = 0; i < conf_section_kind_count; i++) {
        for (const struct conf_section *s = conf->state->sections; s; s = s->next) {
            if (s->kind == &conf_section_kinds[i]) {
                dump_section(&dump, s);
            }
        }
    }
}
