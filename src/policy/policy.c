// SPDX-License-Identifier: MIT
#include "policy/policy.h"

#include "base/err.h"
#include "policy/match.h"
#include "policy/policy_private.h"

#define BUILTIN_ORIGIN ((struct conf_origin){NULL, 0})

static const struct {
    struct str name, text;
} builtins[] = {
    [POLICY_BUILTIN_LOOP] = {STR("builtin:loop"), STR("what would come back to this proxy")},
    [POLICY_BUILTIN_DEFAULT] = {STR("builtin:default"), STR("what no line allows")},
    [POLICY_BUILTIN_PRIVATE_ADDRESS] =
        {STR("builtin:private-address"),
         STR("what a line would allow but for the 'to public' that it implies")},
};

static void set_verdict(struct policy_verdict *verdict, enum policy_action action, struct str rule,
                        struct str details)
{
    verdict->action = action;
    verdict->rule = rule;
    verdict->origin = BUILTIN_ORIGIN;
    verdict->details = details;
}

static void set_builtin(struct policy_verdict *verdict, enum policy_builtin builtin,
                        struct str details)
{
    set_verdict(verdict, POLICY_DENY, builtins[builtin].name, details);
    verdict->row = builtin;
}

static void set_by_line(struct policy_verdict *verdict, enum policy_action action,
                        const struct line *line)
{
    set_verdict(verdict, action, line->name, STR(""));
    verdict->origin = line->origin;
    verdict->row = POLICY_BUILTIN_COUNT + line->number;
}

static void set_open(struct policy_verdict *verdict, unsigned needs)
{
    set_verdict(verdict, POLICY_OPEN, STR(""), STR(""));
    verdict->needs = needs;
}

/* private: of find_private. */
static void set_default(struct policy_verdict *verdict, const struct line *private)
{
    if (private) {
        set_builtin(verdict, POLICY_BUILTIN_PRIVATE_ADDRESS, private->private_details);
    } else {
        set_builtin(verdict, POLICY_BUILTIN_DEFAULT, STR("no rule allows it"));
    }
}

static void note_report(struct policy_verdict *verdict, const struct line *line, unsigned state)
{
    if (state == MATCH_YES && verdict->would_deny_count < POLICY_REPORTS_MAX) {
        verdict->would_deny[verdict->would_deny_count++] = line->name;
    }
}

/* ---- The first walk: before the address is known ---- */

/* What the walk has come to. Without credentials a request gets past no line that asks for them
 * alone; behind it, and behind each allow that asks for them among other things, only somebody with
 * credentials could be allowed. */
struct prospect {
    const struct line *asking; /* first that wants credentials; NULL: none */
    bool is_blocked;           /* some line that was passed wants nothing else */
    bool is_hopeful;           /* with credentials an allow might hold */
    bool is_sure;              /* that allow does so whatever the time is */
    bool waits;                /* a deny before that would end the walk at another time */
};

/* True when the walk ends here. */
static bool first_step(const struct line *line, unsigned state, struct prospect *prospect,
                       struct policy_verdict *verdict)
{
    bool asks = (state & POLICY_NEEDS_USER) != 0;

    if (line->action == LINE_REPORT) {
        note_report(verdict, line, state);
        return false;
    }
    if (line->action == LINE_ALLOW && !asks && !prospect->is_blocked) {
        set_open(verdict, state);
        return true;
    }
    if (line->action == LINE_DENY && state == MATCH_YES) {
        set_by_line(verdict, POLICY_DENY, line);
        return true;
    }
    prospect->waits = prospect->waits || (!prospect->is_sure && line->action == LINE_DENY &&
                                          state == POLICY_NEEDS_TIME);
    prospect->is_sure =
        prospect->is_sure || (line->action == LINE_ALLOW && !(state & POLICY_NEEDS_TIME));
    prospect->is_hopeful = prospect->is_hopeful || line->action == LINE_ALLOW;
    prospect->is_blocked = prospect->is_blocked || state == POLICY_NEEDS_USER;
    if (!prospect->asking && asks && (line->action == LINE_ALLOW || prospect->is_blocked)) {
        prospect->asking = line;
    }
    return false;
}

static void walk_first(const struct match_view *view, struct policy_verdict *verdict)
{
    struct match_walk walk;
    struct prospect prospect = {0};
    uint32_t number;

    set_default(verdict, NULL);
    match_walk_init(&walk, view);
    while (match_walk_next(&walk, &number)) {
        unsigned state = match_line(view, number);

        if (state != MATCH_NO &&
            first_step(&view->table->lines[number], state, &prospect, verdict)) {
            break;
        }
    }
    if (verdict->action != POLICY_DENY || !prospect.is_hopeful) {
        return;
    }
    if (prospect.waits || !prospect.is_sure) {
        set_open(verdict, POLICY_NEEDS_TIME | POLICY_NEEDS_ADDRESS | POLICY_NEEDS_USER);
    } else {
        set_by_line(verdict, POLICY_CHALLENGE, prospect.asking);
    }
}

/* ---- The second walk: for one address ---- */

/* What a line that is not no comes to; if it asks for credentials, at an hour at which it does. */
static enum policy_action outcome_of(const struct line *line, unsigned state)
{
    if (state == MATCH_YES) {
        return line->action == LINE_ALLOW ? POLICY_ALLOW : POLICY_DENY;
    }
    return (state & ~(unsigned)POLICY_NEEDS_TIME) == POLICY_NEEDS_USER ? POLICY_CHALLENGE
                                                                       : POLICY_OPEN;
}

/* The line is not no. True when the walk ends here. Where it is not known whether a line asks for
 * credentials now it is gone on, for they may be asked for at any hour: *hangs is what such lines
 * need, and the verdict is the first one's. */
static bool second_step(const struct line *line, unsigned state, unsigned *hangs,
                        struct policy_verdict *verdict)
{
    enum policy_action outcome = outcome_of(line, state);

    if (line->action == LINE_REPORT) {
        note_report(verdict, line, state);
        return false;
    }
    if (outcome == POLICY_OPEN || (*hangs && outcome != POLICY_CHALLENGE)) {
        set_open(verdict, *hangs | state);
        return true;
    }
    if (!*hangs) {
        set_by_line(verdict, outcome, line);
    }
    *hangs |= state;
    return !(state & POLICY_NEEDS_TIME);
}

/* The first line that would have allowed it, but for an implied `to public`; or NULL. */
static const struct line *find_private(const struct match_view *view)
{
    struct match_walk walk;
    uint32_t number;

    match_walk_init(&walk, view);
    while (match_walk_next(&walk, &number)) {
        const struct line *line = &view->table->lines[number];

        if (line->private_details.len > 0 && match_line_anywhere(view, number) == MATCH_YES) {
            return line;
        }
    }
    return NULL;
}

static void walk_second(const struct match_view *view, struct policy_verdict *verdict)
{
    struct match_walk walk;
    unsigned hangs = 0;
    uint32_t number;

    match_walk_init(&walk, view);
    while (match_walk_next(&walk, &number)) {
        unsigned state = match_line(view, number);

        if (state != MATCH_NO && second_step(&view->table->lines[number], state, &hangs, verdict)) {
            return;
        }
    }
    if (hangs) {
        set_open(verdict, hangs);
    } else {
        set_default(verdict, find_private(view));
    }
}

/* ---- Decisions ---- */

static bool is_loop(const struct policy_facts *facts)
{
    struct addr address;

    return facts->own_via || (match_address(facts, &address) && match_own(facts, &address));
}

/* What is known only later may still change a verdict that was given early. */
static void soften(const struct policy_facts *facts, struct policy_verdict *verdict)
{
    bool is_early = verdict->action == POLICY_ALLOW && facts->stage < POLICY_ADDRESS;
    bool is_unasked = verdict->action == POLICY_CHALLENGE && facts->stage < POLICY_REQUEST;

    if (is_early || is_unasked) {
        set_open(verdict, is_early ? POLICY_NEEDS_ADDRESS : POLICY_NEEDS_REQUEST);
    }
}

void policy_decide(const struct policy *policy, const struct policy_facts *facts,
                   struct policy_verdict *ret)
{
    struct match_view view;

    ret->needs = 0;
    ret->row = 0;
    ret->would_deny_count = 0;
    if (is_loop(facts)) {
        set_builtin(ret, POLICY_BUILTIN_LOOP,
                    facts->own_via ? STR("the request has been through this proxy already")
                                   : STR("the address and port are this proxy's own"));
        return;
    }
    match_view_init(&view, &policy->access, facts);
    if (view.address_known) {
        walk_second(&view, ret);
    } else {
        walk_first(&view, ret);
    }
    soften(facts, ret);
}

void policy_sum_up(struct policy_verdict *sum, const struct policy_verdict *next)
{
    if (next->action > sum->action) {
        *sum = *next;
    }
}

/* ------------------------------------------------------------------ after a reload */

struct list_diff {
    void (*tell)(void *arg, const char *path, size_t before, size_t after);
    void *arg;
};

static void tell_list(void *arg, const char *path, const struct domains_counts *before,
                      const struct domains_counts *after)
{
    const struct list_diff *diff = arg;

    diff->tell(diff->arg, path, before ? before->names : 0, after ? after->names : 0);
}

void policy_diff_lists(const struct policy *before, const struct policy *after,
                       void (*tell)(void *arg, const char *path, size_t before, size_t after),
                       void *arg)
{
    struct list_diff diff = {.tell = tell, .arg = arg};

    domains_shelf_diff(&before->shelf, &after->shelf, tell_list, &diff);
}

void policy_each_method(const struct policy *policy,
                        void (*tell)(void *arg, struct str method, struct str rule,
                                     struct conf_origin origin),
                        void *arg)
{
    for (uint32_t i = 0; i < policy->access.count; i++) {
        const struct line *line = &policy->access.lines[i];
        const struct rule_condition *methods = rule_find(&line->rule, RULE_METHOD);

        for (size_t k = 0; methods && k < methods->words.count; k++) {
            tell(arg, methods->words.items[k], line->name, line->origin);
        }
    }
}

void policy_builtin_row(enum policy_builtin builtin, struct policy_line *ret)
{
    *ret = (struct policy_line){.name = builtins[builtin].name,
                                .text = builtins[builtin].text,
                                .origin = BUILTIN_ORIGIN,
                                .action = STR("deny")};
}
