// SPDX-License-Identifier: MIT
#include "policy/table.h"

#include <errno.h>

#include "base/arena.h"

/* A class has no place in an index, and what is negated matches all but a few. */
static bool is_indexed(const struct rule_addrs *addrs)
{
    return addrs->classes == 0;
}

/* By which of its conditions a line is found: one that it must match to be yes, and of several that
 * which few other lines will share. RULE_KIND_COUNT: by none. */
static enum rule_kind key_of(const struct rule *rule)
{
    const struct rule_condition *host = rule_find(rule, RULE_HOST);
    const struct rule_condition *to = rule_find(rule, RULE_TO);
    const struct rule_condition *from = rule_find(rule, RULE_FROM);
    const struct rule_condition *port = rule_find(rule, RULE_PORT);

    if (host && !host->negated) {
        return RULE_HOST;
    }
    if (to && to->to.has_only && is_indexed(&to->to.only)) {
        return RULE_TO;
    }
    if (from && !from->negated && is_indexed(&from->from)) {
        return RULE_FROM;
    }
    return port && !port->negated ? RULE_PORT : RULE_KIND_COUNT;
}

/* While the address is not known, a deny or report line that asks for it says nothing. */
static bool is_always_early(const struct line *line, enum rule_kind key)
{
    return key == RULE_KIND_COUNT || (key == RULE_TO && line->action == LINE_ALLOW);
}

static int add_nets(struct nets *nets, const struct rule_addrs *addrs, struct lines_entry line)
{
    int error = 0;

    for (size_t i = 0; i < addrs->net_count && !error; i++) {
        error = nets_add(nets, &addrs->nets[i], line);
    }
    return error;
}

/* By its ports a line is only found: whether it holds is cheaper seen in the line. */
static int add_ports(struct nets *ports, const struct rule_condition *condition,
                     struct lines_entry line)
{
    int error = 0;

    for (size_t i = 0; line.is_keyed && i < condition->ports.count && !error; i++) {
        error = nets_add_ports(ports, condition->ports.items[i].first,
                               condition->ports.items[i].last, line);
    }
    return error;
}

static int add_hosts(struct names *names, const struct rule_condition *condition,
                     struct lines_entry line)
{
    int error = 0;

    for (size_t i = 0; i < condition->hosts.count && !error; i++) {
        error = names_add(names, &condition->hosts.items[i], line);
    }
    return error;
}

static int add_to(struct table *table, const struct rule_condition *condition,
                  struct lines_entry line)
{
    int error = add_nets(&table->to, &condition->to.only, line);

    line.is_keyed = false;
    return error ? error : add_nets(&table->except, &condition->to.except, line);
}

static int add_condition(struct table *table, const struct rule_condition *condition,
                         uint32_t number, enum rule_kind key)
{
    struct lines_entry line = {number, condition->kind == key};

    switch (condition->kind) {
    case RULE_FROM:
        table->from_classes |= condition->from.classes;
        return add_nets(&table->from, &condition->from, line);
    case RULE_TO:
        table->to_classes |= condition->to.only.classes | condition->to.except.classes;
        return add_to(table, condition, line);
    case RULE_PORT:
        return add_ports(&table->ports, condition, line);
    case RULE_HOST:
        return add_hosts(&table->names, condition, line);
    case RULE_LISTENER:
    case RULE_METHOD:
    case RULE_TIME:
    case RULE_USER:
    case RULE_HOSTS:
    case RULE_KIND_COUNT:
        break;
    }
    return 0;
}

static int add_line(struct table *table, uint32_t number)
{
    const struct rule *rule = &table->lines[number].rule;
    enum rule_kind key = key_of(rule);
    int error = 0;

    for (size_t i = 0; i < rule->condition_count && !error; i++) {
        error = add_condition(table, &rule->conditions[i], number, key);
    }
    return error;
}

static int finish(struct table *table, struct arena *arena)
{
    int error = names_finish(&table->names, arena);

    if (!error) {
        error = nets_finish(&table->from, arena);
    }
    if (!error) {
        error = nets_finish(&table->to, arena);
    }
    if (!error) {
        error = nets_finish(&table->except, arena);
    }
    return error ? error : nets_finish(&table->ports, arena);
}

static int list_always(struct table *table, struct arena *arena)
{
    uint32_t *always = arena_alloc(arena, table->count * sizeof(*always));
    uint32_t *early = arena_alloc(arena, table->count * sizeof(*early));

    if (!always || !early) {
        return -ENOMEM;
    }
    table->always.items = always;
    table->always_early.items = early;
    for (uint32_t i = 0; i < table->count; i++) {
        enum rule_kind key = key_of(&table->lines[i].rule);

        if (key == RULE_KIND_COUNT) {
            always[table->always.keyed++] = i;
        }
        if (is_always_early(&table->lines[i], key)) {
            early[table->always_early.keyed++] = i;
        }
    }
    return 0;
}

int table_init(struct table *ret, struct line *lines, uint32_t count, struct arena *arena)
{
    struct table table = {.lines = lines, .count = count};
    int error = list_always(&table, arena);

    for (uint32_t i = 0; i < count && !error; i++) {
        error = add_line(&table, i);
    }
    if (!error) {
        error = finish(&table, arena);
    }
    names_deinit(&table.names);
    nets_deinit(&table.from);
    nets_deinit(&table.to);
    nets_deinit(&table.except);
    nets_deinit(&table.ports);
    if (!error) {
        *ret = table;
    }
    return error;
}
