// SPDX-License-Identifier: MIT
#include "policy/cover.h"

#include "policy/match.h"

/* Each of these: whether all that a means b means too. */

static bool spend(struct cover *cover)
{
    if (cover->left == 0) {
        return false;
    }
    cover->left--;
    return true;
}

static bool words_within(struct cover *cover, const struct rule_condition *a,
                         const struct rule_condition *b)
{
    if (a->words.is_any || b->words.is_any) {
        return b->words.is_any;
    }
    for (size_t i = 0; i < a->words.count; i++) {
        if (!spend(cover) || !rule_words_have(b->words.items, b->words.count, a->words.items[i])) {
            return false;
        }
    }
    return true;
}

static bool ports_within(struct cover *cover, const struct rule_condition *a,
                         const struct rule_condition *b)
{
    for (size_t i = 0; i < a->ports.count; i++) {
        const struct rule_ports *ports = &a->ports.items[i];
        const struct rule_ports *around =
            rule_ports_find(b->ports.items, b->ports.count, ports->first);

        if (!spend(cover) || !around || around->last < ports->last) {
            return false;
        }
    }
    return true;
}

static bool span_within(const struct rule_span *a, const struct rule_span *b)
{
    bool is_whole = b->days == 0x7f && b->from == 0 && b->to == 1440;
    bool are_plain = a->from < a->to && b->from < b->to;
    bool is_inside =
        are_plain ? b->from <= a->from && a->to <= b->to : b->from == a->from && b->to == a->to;

    return is_whole || ((a->days & ~b->days) == 0 && is_inside);
}

static bool files_within(struct cover *cover, const struct rule_condition *a,
                         const struct rule_condition *b)
{
    for (size_t i = 0; i < a->files.count; i++) {
        bool found = false;

        for (size_t j = 0; j < b->files.count && !found && spend(cover); j++) {
            found = str_eq(a->files.paths[i], b->files.paths[j]);
        }
        if (!found) {
            return false;
        }
    }
    return true;
}

static bool host_within(const struct rule_host *a, const struct rule_host *b)
{
    struct str above = str_head(a->name, a->name.len - MIN(b->name.len, a->name.len));
    bool is_same = str_eq(a->name, b->name) && (b->is_below || !a->is_below);

    if (is_same) {
        return true;
    }
    if (b->is_glob) {
        return !a->is_glob && (b->is_below || !a->is_below) && names_match(b, a->name);
    }
    return b->is_below && str_ends(a->name, b->name) && str_ends(above, STR("."));
}

static bool hosts_within(struct cover *cover, const struct rule_condition *a,
                         const struct rule_condition *b)
{
    for (size_t i = 0; i < a->hosts.count; i++) {
        bool found = false;

        for (size_t j = 0; j < b->hosts.count && !found && spend(cover); j++) {
            found = host_within(&a->hosts.items[i], &b->hosts.items[j]);
        }
        if (!found) {
            return false;
        }
    }
    return true;
}

/* A network that begins and ends in one of these lies in it: each is of a few prefixes, and no two
 * of them touch. */
static bool net_in_classes(const struct addr_net *net, unsigned classes)
{
    struct addr last = addr_net_last(net);

    return ((classes & RULE_CLASS_LOOPBACK) != 0 && addr_is_loopback(&net->addr) &&
            addr_is_loopback(&last)) ||
           ((classes & RULE_CLASS_LINK_LOCAL) != 0 && addr_is_link_local(&net->addr) &&
            addr_is_link_local(&last)) ||
           ((classes & RULE_CLASS_PRIVATE) != 0 && addr_is_private(&net->addr) &&
            addr_is_private(&last));
}

static bool net_within(struct cover *cover, const struct addr_net *net, const struct rule_addrs *b)
{
    for (size_t i = 0; i < b->net_count && spend(cover); i++) {
        if (b->nets[i].bits <= net->bits && addr_in_net(&net->addr, &b->nets[i])) {
            return true;
        }
    }
    return net_in_classes(net, b->classes);
}

static bool addrs_within(struct cover *cover, const struct rule_addrs *a,
                         const struct rule_addrs *b)
{
    if ((b->classes & RULE_CLASS_ANY) != 0) {
        return true;
    }
    if ((a->classes & ~b->classes) != 0) {
        return false;
    }
    for (size_t i = 0; i < a->net_count; i++) {
        if (!net_within(cover, &a->nets[i], b)) {
            return false;
        }
    }
    return true;
}

/* A whole condition that is not `to`, without its "not". */
static bool value_within(struct cover *cover, const struct rule_condition *a,
                         const struct rule_condition *b)
{
    switch (a->kind) {
    case RULE_LISTENER:
    case RULE_METHOD:
    case RULE_USER:
        return words_within(cover, a, b);
    case RULE_PORT:
        return ports_within(cover, a, b);
    case RULE_FROM:
        return addrs_within(cover, &a->from, &b->from);
    case RULE_TIME:
        return span_within(&a->span, &b->span);
    case RULE_HOST:
        return hosts_within(cover, a, b);
    case RULE_HOSTS:
        return files_within(cover, a, b);
    case RULE_TO:
    case RULE_KIND_COUNT:
        break;
    }
    return false;
}

static bool is_any(const struct rule_addrs *addrs)
{
    return (addrs->classes & RULE_CLASS_ANY) != 0;
}

/* a is NULL where the line says nothing of addresses. */
static bool to_within(struct cover *cover, const struct rule_condition *a,
                      const struct rule_condition *b)
{
    bool only = !b->to.has_only || is_any(&b->to.only) ||
                (a && a->to.has_only && addrs_within(cover, &a->to.only, &b->to.only));
    bool except = !b->to.has_except ||
                  (a && a->to.has_except && addrs_within(cover, &b->to.except, &a->to.except));

    return only && except;
}

/* Whether condition b holds wherever line a does. */
static bool follows(struct cover *cover, const struct rule *a, const struct rule_condition *b)
{
    const struct rule_condition *same = rule_find(a, b->kind);

    if (b->kind == RULE_TO) {
        return to_within(cover, same, b);
    }
    if (b->kind == RULE_FROM && !b->negated && is_any(&b->from)) {
        return true;
    }
    if (!same || same->negated != b->negated) {
        return false;
    }
    return b->negated ? value_within(cover, b, same) : value_within(cover, same, b);
}

static bool covers(struct cover *cover, const struct line *earlier, const struct line *line)
{
    if (earlier->action == LINE_REPORT || !spend(cover)) {
        return false;
    }
    for (size_t i = 0; i < earlier->rule.condition_count; i++) {
        if (!follows(cover, &line->rule, &earlier->rule.conditions[i])) {
            return false;
        }
    }
    return true;
}

static bool is_limited(const struct rule *rule)
{
    const struct rule_condition *to = rule_find(rule, RULE_TO);

    return to && (to->to.has_except || !is_any(&to->to.only));
}

/* Of a line that covers: match.c, match_to. */
static bool wants_all_forms(const struct line *earlier, const struct line *line)
{
    return earlier->action == LINE_ALLOW && line->action != LINE_ALLOW &&
           is_limited(&earlier->rule);
}

static const struct addr *first_addr(const struct rule_addrs *addrs)
{
    return addrs->net_count > 0 ? &addrs->nets[0].addr : NULL;
}

/* A request for which the line may be yes: whatever line is yes for it is found by the indexes. */
static void view_witness(struct match_view *view, const struct table *table,
                         const struct rule *rule)
{
    const struct rule_condition *host = rule_find(rule, RULE_HOST);
    const struct rule_condition *from = rule_find(rule, RULE_FROM);
    const struct rule_condition *to = rule_find(rule, RULE_TO);
    const struct rule_condition *port = rule_find(rule, RULE_PORT);
    const struct addr *client = from && !from->negated ? first_addr(&from->from) : NULL;
    const struct addr *address = to && to->to.has_only ? first_addr(&to->to.only) : NULL;

    view->table = table;
    view->request_known = true;
    view->address_known = true;
    view->host_name = host && !host->negated ? host->hosts.items[0].name : STR("");
    view->from.count = 0;
    view->ports.count = 0;
    view->form_count = 1;
    view->forms[0].to.count = 0;
    names_find(&table->names, view->host_name, &view->names);
    if (port && !port->negated) {
        nets_find_port(&table->ports, port->ports.items[0].first, &view->ports);
    }
    if (client) {
        nets_find(&table->from, client, &view->from);
    }
    if (address) {
        nets_find(&table->to, address, &view->forms[0].to);
    }
}

const struct line *cover_find(struct cover *cover, uint32_t line, bool *ret_save_inner)
{
    const struct table *table = cover->table;
    struct match_view view;
    struct match_walk walk;
    uint32_t number;

    view_witness(&view, table, &table->lines[line].rule);
    match_walk_init(&walk, &view);
    while (match_walk_next(&walk, &number) && number < line) {
        if (covers(cover, &table->lines[number], &table->lines[line])) {
            *ret_save_inner = wants_all_forms(&table->lines[number], &table->lines[line]);
            return &table->lines[number];
        }
    }
    return NULL;
}
