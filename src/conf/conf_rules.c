// SPDX-License-Identifier: MIT

/* The lines of the rule tables: kept in their order, each name once. */

#include <errno.h>
#include <string.h>

#include "base/mem.h"
#include "conf/conf_keys.h"
#include "conf/conf_load.h"
#include "conf/conf_parse.h"
#include "conf/conf_state.h"
#include "conf/conf_value.h"

struct rule_name {
    struct map_node node; /* TABLE.NAME */
    size_t rule;          /* index in conf->rules */
};

struct conf_rule *conf_rule_find(const struct conf *conf, struct str full_name)
{
    struct map_node *node = map_find(&conf->state->rule_names, full_name);

    return node ? &conf->rules[CONTAINER_OF(node, struct rule_name, node)->rule] : NULL;
}

/* Doubles, for there may be many thousands. */
static struct conf_rule *grow(struct conf *conf)
{
    size_t count = conf->rule_count;
    bool is_full = (count & (count - 1)) == 0; /* 0, 1, 2, 4, ... */
    struct conf_rule *rules = conf->rules;

    if (is_full) {
        rules = mem_realloc_array(rules, count > 0 ? count * 2 : 1, sizeof(*rules));
        if (!rules) {
            return NULL;
        }
        conf->rules = rules;
    }
    return &rules[conf->rule_count++];
}

/* full_name is kept. */
static int add_rule(struct conf_loader *loader, const struct conf_section *section,
                    const char *full_name, const char *text, const struct conf_place *place)
{
    struct rule_name *name = arena_alloc(&loader->state->arena, sizeof(*name));
    struct conf_rule *rule = name ? grow(loader->conf) : NULL;

    if (!rule) {
        return -ENOMEM;
    }
    *rule = (struct conf_rule){
        .table = section->kind->word,
        .name = full_name + strlen(section->kind->word) + 1,
        .text = text,
        .dir = place->dir,
        .origin = place->origin,
    };
    *name = (struct rule_name){.node.key = str_of(full_name), .rule = loader->conf->rule_count - 1};
    map_add(&loader->state->rule_names, &name->node);
    return 0;
}

static void report_taken(struct conf_loader *loader, const char *full_name,
                         struct conf_origin first, struct conf_origin origin)
{
    char buf[CONF_ORIGIN_TEXT_MAX];
    struct text where = TEXT_OVER(buf);

    conf_origin_put(&where, first);
    conf_messages_add(loader->messages, false, origin,
                      "%s: there is a rule of this name already, at %s", full_name,
                      text_cstr(&where));
}

void conf_set_rule(struct conf_loader *loader, const struct conf_section *section, struct str name,
                   struct str text, const struct conf_place *place, bool replaces)
{
    char buf[CONF_NAME_MAX + 32];
    struct text full = TEXT_OVER(buf);
    const char *fault = conf_name_fault(name, 1);
    const char *full_name;
    const char *kept_text = conf_keep(loader->state, text);
    struct conf_rule *rule;

    if (fault) { /* in an option: the reader of files has told already */
        conf_messages_add(loader->messages, false, place->origin, "%s: %s", section->name, fault);
        return;
    }
    text_printf(&full, "%s.%.*s", section->kind->word, STR_ARG(name));
    full_name = conf_keep(loader->state, text_str(&full));
    if (!full_name || !kept_text) {
        loader->error = -ENOMEM;
        return;
    }
    rule = conf_rule_find(loader->conf, str_of(full_name));
    if (!rule) {
        int error = add_rule(loader, section, full_name, kept_text, place);

        loader->error = error ? error : loader->error;
    } else if (replaces) {
        rule->text = kept_text;
        rule->dir = place->dir;
        rule->origin = place->origin;
    } else {
        report_taken(loader, full_name, rule->origin, place->origin);
    }
}
