// SPDX-License-Identifier: MIT
#include "policy/match.h"

#include <string.h>

#include "base/host.h"
#include "policy/domains.h"
#include "policy/machine.h"

/* ---- This machine ---- */

/* connect(2) to the unspecified address reaches this machine, as loopback does. */
static bool is_machine_address(const struct policy_facts *facts, const struct addr *address)
{
    if (addr_is_loopback(address) || addr_is_unspecified(address)) {
        return true;
    }
    if (facts->machine && machine_addrs_has(facts->machine, address)) {
        return true;
    }
    for (size_t i = 0; i < facts->own_address_count; i++) {
        if (addr_ip_eq(address, &facts->own_addresses[i])) {
            return true;
        }
    }
    return false;
}

static bool is_own(const struct policy_facts *facts, const struct addr *address)
{
    for (size_t i = 0; i < facts->own_address_count; i++) {
        const struct addr *own = &facts->own_addresses[i];

        if (own->port != address->port) {
            continue;
        }
        if (addr_ip_eq(address, own) || (addr_is_unspecified(address) && addr_is_loopback(own)) ||
            (addr_is_unspecified(own) && is_machine_address(facts, address))) {
            return true;
        }
    }
    return false;
}

bool match_own(const struct policy_facts *facts, const struct addr *address)
{
    struct addr inner[ADDR_EMBEDDED_MAX];
    unsigned count = addr_embedded_ip4(address, inner);
    bool own = is_own(facts, address);

    for (unsigned i = 0; i < count; i++) {
        own = own || is_own(facts, &inner[i]);
    }
    return own;
}

bool match_address(const struct policy_facts *facts, struct addr *ret)
{
    if (facts->stage >= POLICY_ADDRESS) {
        *ret = facts->address;
        return true;
    }
    if (facts->host && facts->host->is_literal) {
        *ret = facts->host->addr;
        ret->port = facts->port;
        return true;
    }
    return false;
}

/* ---- A view ---- */

static bool is_of_class(const struct policy_facts *facts, const struct addr *addr,
                        enum rule_class class)
{
    switch (class) {
    case RULE_CLASS_ANY:
        return true;
    case RULE_CLASS_LOOPBACK:
        return addr_is_loopback(addr);
    case RULE_CLASS_LINK_LOCAL:
        return addr_is_link_local(addr);
    case RULE_CLASS_PRIVATE:
        return addr_is_private(addr);
    case RULE_CLASS_PUBLIC:
        return addr_is_public(addr) && !is_machine_address(facts, addr);
    case RULE_CLASS_HOST:
        return is_machine_address(facts, addr);
    case RULE_CLASS_SELF:
        return is_own(facts, addr);
    case RULE_CLASS_UNIX:
        return addr->kind == ADDR_UNIX;
    }
    return false;
}

/* Those of the wanted classes that the address is of. */
static unsigned classes_of(const struct policy_facts *facts, const struct addr *addr,
                           unsigned wanted)
{
    unsigned classes = 0;

    while (wanted != 0) {
        unsigned lowest = wanted & -wanted;

        classes |= is_of_class(facts, addr, (enum rule_class)lowest) ? lowest : 0;
        wanted &= ~lowest;
    }
    return classes;
}

static void find_missing(struct match_view *view)
{
    const struct policy_facts *facts = view->facts;
    unsigned request = view->request_known ? 0 : POLICY_NEEDS_REQUEST;
    const unsigned missing[RULE_KIND_COUNT] = {
        [RULE_PORT] = request,
        [RULE_METHOD] = request,
        [RULE_HOST] = request,
        [RULE_HOSTS] = request,
        [RULE_TIME] = request != 0 || facts->time.known ? request : POLICY_NEEDS_TIME,
        [RULE_USER] = facts->user.len > 0 ? 0 : POLICY_NEEDS_USER,
        [RULE_TO] = view->address_known ? 0 : POLICY_NEEDS_ADDRESS,
    };

    memcpy(view->missing, missing, sizeof(missing));
}

static void add_form(struct match_view *view, const struct addr *addr)
{
    struct match_form *form = &view->forms[view->form_count++];

    form->classes = classes_of(view->facts, addr, view->table->to_classes);
    form->to.count = 0;
    form->except.count = 0;
    nets_find(&view->table->to, addr, &form->to);
    nets_find(&view->table->except, addr, &form->except);
}

static void add_forms(struct match_view *view, const struct addr *address)
{
    struct addr inner[ADDR_EMBEDDED_MAX];
    unsigned count = addr_embedded_ip4(address, inner);

    add_form(view, address);
    for (unsigned i = 0; i < count; i++) {
        add_form(view, &inner[i]);
    }
}

void match_view_init(struct match_view *view, const struct table *table,
                     const struct policy_facts *facts)
{
    /* Nothing but an IPv4-mapped client is unwrapped. */
    struct addr client = addr_unmapped(&facts->client);
    struct addr address = {0};

    view->table = table;
    view->facts = facts;
    view->request_known = facts->stage >= POLICY_REQUEST;
    view->address_known = match_address(facts, &address);
    find_missing(view);
    view->client_classes = classes_of(facts, &client, table->from_classes);
    view->from.count = 0;
    nets_find(&table->from, &client, &view->from);
    view->ports.count = 0;
    nets_find_port(&table->ports, facts->port, &view->ports);
    view->host_name = facts->host ? host_name(facts->host) : STR("");
    names_find(&table->names, view->host_name, &view->names);
    view->form_count = 0;
    if (view->address_known) {
        add_forms(view, &address);
    }
}

/* ---- Conditions ---- */

static bool match_words(const struct rule_condition *condition, struct str word)
{
    return rule_words_have(condition->words.items, condition->words.count, word);
}

static bool match_from(const struct match_view *view, uint32_t line,
                       const struct rule_condition *condition)
{
    return (condition->from.classes & view->client_classes) != 0 ||
           lines_hits_have(&view->from, line);
}

static bool match_host(const struct match_view *view, uint32_t line,
                       const struct rule_condition *condition)
{
    if (lines_hits_have(&view->names.sure, line)) {
        return true;
    }
    if (!lines_hits_have(&view->names.maybe, line)) {
        return false;
    }
    for (size_t i = 0; i < condition->hosts.count; i++) {
        const struct rule_host *host = &condition->hosts.items[i];

        if (host->is_glob && names_match(host, view->host_name)) {
            return true;
        }
    }
    return false;
}

static bool match_files(const struct match_view *view, const struct rule_condition *condition)
{
    for (size_t i = 0; i < condition->files.count; i++) {
        if (domains_has(condition->files.lists[i], view->host_name)) {
            return true;
        }
    }
    return false;
}

static bool match_span(const struct rule_span *span, struct local_time time)
{
    unsigned yesterday = (time.weekday + 6U) % 7;
    bool today_counts = (span->days & 1U << time.weekday) != 0;

    if (span->from < span->to) {
        return today_counts && time.minute >= span->from && time.minute < span->to;
    }
    return (today_counts && time.minute >= span->from) ||
           ((span->days & 1U << yesterday) != 0 && time.minute < span->to);
}

static bool match_part(const struct rule_addrs *addrs, const struct match_form *form,
                       const struct lines_hits *hits, uint32_t line)
{
    return (addrs->classes & form->classes) != 0 || lines_hits_have(hits, line);
}

static bool match_form(const struct rule_condition *condition, const struct match_form *form,
                       uint32_t line, bool anywhere)
{
    bool is_limited = condition->to.has_only && !(anywhere && condition->to.is_implied);

    return (!is_limited || match_part(&condition->to.only, form, &form->to, line)) &&
           !(condition->to.has_except &&
             match_part(&condition->to.except, form, &form->except, line));
}

/* An allow must hold for each of the addresses that the dialled one stands for; for the others one
 * is enough. */
static bool match_to(const struct match_view *view, uint32_t line,
                     const struct rule_condition *condition, bool anywhere)
{
    bool needs_all = view->table->lines[line].action == LINE_ALLOW;

    for (unsigned i = 0; i < view->form_count; i++) {
        if (match_form(condition, &view->forms[i], line, anywhere) != needs_all) {
            return !needs_all;
        }
    }
    return needs_all;
}

/* Without its "not". */
static bool holds(const struct match_view *view, uint32_t line,
                  const struct rule_condition *condition, bool anywhere)
{
    const struct policy_facts *facts = view->facts;

    switch (condition->kind) {
    case RULE_LISTENER:
        return match_words(condition, facts->listener);
    case RULE_PORT:
        return rule_ports_find(condition->ports.items, condition->ports.count, facts->port);
    case RULE_METHOD:
        return match_words(condition, facts->method);
    case RULE_FROM:
        return match_from(view, line, condition);
    case RULE_TIME:
        return match_span(&condition->span, facts->time);
    case RULE_USER:
        return facts->user.len > 0 &&
               (condition->words.is_any || match_words(condition, facts->user));
    case RULE_TO:
        return match_to(view, line, condition, anywhere);
    case RULE_HOST:
        return match_host(view, line, condition);
    case RULE_HOSTS:
        return match_files(view, condition);
    case RULE_KIND_COUNT:
        break;
    }
    return false;
}

/* report never challenges: an unknown user is no user. */
static bool is_unasked(const struct match_view *view, uint32_t line, unsigned needs)
{
    return needs == POLICY_NEEDS_USER && view->table->lines[line].action == LINE_REPORT;
}

static unsigned judge(const struct match_view *view, uint32_t line,
                      const struct rule_condition *condition, bool anywhere)
{
    unsigned needs = view->missing[condition->kind];

    if (needs != 0 && !is_unasked(view, line, needs)) {
        return needs;
    }
    return holds(view, line, condition, anywhere) != condition->negated ? MATCH_YES : MATCH_NO;
}

unsigned match_condition(const struct match_view *view, uint32_t line,
                         const struct rule_condition *condition)
{
    return judge(view, line, condition, false);
}

static unsigned judge_line(const struct match_view *view, uint32_t line, bool anywhere)
{
    const struct rule *rule = &view->table->lines[line].rule;
    unsigned state = MATCH_YES;

    for (size_t i = 0; i < rule->condition_count && (state & MATCH_NO) == 0; i++) {
        state |= judge(view, line, &rule->conditions[i], anywhere);
    }
    return (state & MATCH_NO) != 0 ? MATCH_NO : state;
}

unsigned match_line(const struct match_view *view, uint32_t line)
{
    return judge_line(view, line, false);
}

unsigned match_line_anywhere(const struct match_view *view, uint32_t line)
{
    return judge_line(view, line, true);
}

bool match_fails_by_except(const struct match_view *view, uint32_t line,
                           const struct rule_condition *condition)
{
    struct rule_condition only = *condition;

    only.to.has_except = false;
    return match_to(view, line, &only, false);
}

/* ---- A walk ---- */

#define NO_LINE UINT32_MAX

static void add_list(struct match_walk *walk, struct lines lines)
{
    lines.count = lines.keyed;
    if (lines.count > 0) {
        walk->lists[walk->count++] = lines;
    }
}

static void add_hits(struct match_walk *walk, const struct lines_hits *hits)
{
    for (unsigned i = 0; i < hits->count; i++) {
        add_list(walk, hits->items[i]);
    }
}

void match_walk_init(struct match_walk *walk, const struct match_view *view)
{
    const struct table *table = view->table;

    walk->view = view;
    walk->line = NO_LINE;
    walk->count = 0;
    add_list(walk, view->address_known ? table->always : table->always_early);
    add_hits(walk, &view->names.sure);
    add_hits(walk, &view->names.maybe);
    add_hits(walk, &view->from);
    add_hits(walk, &view->ports);
    for (unsigned i = 0; i < view->form_count; i++) {
        add_hits(walk, &view->forms[i].to);
    }
}

/* Takes the line off all lists; those that are empty now make room. Returns the lowest that is left
 * on any. */
static uint32_t pass(struct match_walk *walk, uint32_t line)
{
    uint32_t lowest = NO_LINE;
    unsigned kept = 0;

    for (unsigned i = 0; i < walk->count; i++) {
        struct lines list = walk->lists[i];

        if (list.items[0] == line) {
            list.items++;
            list.count--;
        }
        if (list.count > 0) {
            walk->lists[kept++] = list;
            lowest = MIN(lowest, list.items[0]);
        }
    }
    walk->count = kept;
    return lowest;
}

bool match_walk_next(struct match_walk *walk, uint32_t *ret)
{
    if (!walk->view->request_known) {
        walk->line++; /* from none to the first, too */
    } else {
        walk->line = pass(walk, walk->line);
    }
    *ret = walk->line;
    return walk->line < walk->view->table->count;
}
