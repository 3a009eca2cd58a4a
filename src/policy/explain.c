// SPDX-License-Identifier: MIT

/* A policy line by line, for people who ask why. */

#include <string.h>

#include "base/arena.h"
#include "conf/conf.h"
#include "policy/match.h"
#include "policy/policy_private.h"

size_t policy_row_count(const struct policy *policy)
{
    return POLICY_BUILTIN_COUNT + policy->access.count;
}

size_t policy_line_count(const struct policy *policy)
{
    return policy->access.count;
}

static struct str action_word(const struct line *line)
{
    switch (line->action) {
    case LINE_DENY:
        return STR("deny");
    case LINE_REPORT:
        return STR("report");
    case LINE_ALLOW:
        break;
    }
    return STR("allow");
}

static void tell_line(const struct line *line, struct policy_line *ret)
{
    *ret = (struct policy_line){
        .name = line->name,
        .text = line->text,
        .origin = line->origin,
        .action = action_word(line),
    };
}

void policy_row(const struct policy *policy, uint32_t row, struct policy_line *ret)
{
    if (row < POLICY_BUILTIN_COUNT) {
        policy_builtin_row((enum policy_builtin)row, ret);
    } else {
        tell_line(&policy->access.lines[row - POLICY_BUILTIN_COUNT], ret);
    }
}

static struct str failed_text(const struct match_view *view, uint32_t number,
                              const struct rule_condition *condition)
{
    return condition->kind == RULE_TO && match_fails_by_except(view, number, condition)
               ? condition->to.except_text
               : condition->text;
}

static bool is_about_client(enum rule_kind kind)
{
    return kind == RULE_FROM || kind == RULE_LISTENER || kind == RULE_USER;
}

static bool is_about_place(enum rule_kind kind)
{
    return kind == RULE_HOST || kind == RULE_HOSTS || kind == RULE_TO;
}

static void explain(const struct match_view *view, uint32_t number, struct policy_line *ret)
{
    const struct line *line = &view->table->lines[number];
    unsigned state = match_line(view, number);

    tell_line(line, ret);
    if (state != MATCH_NO) {
        ret->answer = state == MATCH_YES ? POLICY_YES : POLICY_LINE_OPEN;
        ret->needs = state;
        return;
    }
    for (size_t i = 0; i < line->rule.condition_count; i++) {
        const struct rule_condition *condition = &line->rule.conditions[i];

        if (match_condition(view, number, condition) != MATCH_NO) {
            continue;
        }
        if (ret->failed_count++ == 0) {
            ret->failed = failed_text(view, number, condition);
        }
        ret->is_for_others = ret->is_for_others || is_about_client(condition->kind);
        ret->is_elsewhere = ret->is_elsewhere || is_about_place(condition->kind);
    }
}

void policy_explain_line(const struct policy *policy, size_t index,
                         const struct policy_facts *facts, struct policy_line *ret)
{
    struct match_view view;

    match_view_init(&view, &policy->access, facts);
    explain(&view, (uint32_t)index, ret);
}

/* A line for this client and place, save for the port, say, is what one looks for. */
static bool is_nearer(const struct policy_line *a, const struct policy_line *b)
{
    if (a->is_for_others != b->is_for_others) {
        return b->is_for_others;
    }
    if (a->failed_count != b->failed_count) {
        return a->failed_count < b->failed_count;
    }
    return !a->is_elsewhere && b->is_elsewhere;
}

bool policy_nearest_allow(const struct policy *policy, const struct policy_facts *facts,
                          struct policy_line *ret)
{
    struct match_view view;
    bool found = false;

    match_view_init(&view, &policy->access, facts);
    for (uint32_t i = 0; i < policy->access.count; i++) {
        struct policy_line line;

        if (policy->access.lines[i].action != LINE_ALLOW) {
            continue;
        }
        explain(&view, i, &line);
        if (!found || is_nearer(&line, ret)) {
            *ret = line;
            found = true;
        }
    }
    return found;
}

/* ---- A line as it could stand anywhere ---- */

/* A path with one of these could not be written in a rule. */
static bool is_writable(struct str path)
{
    return !str_has(path, ' ') && !str_has(path, '\t') && !str_has(path, ',');
}

static bool are_writable(const struct rule_condition *files)
{
    for (size_t i = 0; i < files->files.count; i++) {
        if (!is_writable(files->files.paths[i])) {
            return false;
        }
    }
    return true;
}

static void put_files(const struct rule_condition *files, void (*put)(void *arg, struct str text),
                      void *arg)
{
    put(arg, files->negated ? STR("not hosts ") : STR("hosts "));
    for (size_t i = 0; i < files->files.count; i++) {
        put(arg, i > 0 ? STR(",") : STR(""));
        put(arg, files->files.paths[i]);
    }
}

void policy_put_rule(const struct conf_rule *rule, void (*put)(void *arg, struct str text),
                     void *arg)
{
    struct conf_messages messages = {0};
    struct arena_pool pool;
    struct arena arena;
    struct rule parsed = {0};
    const struct rule_condition *files = NULL;

    arena_pool_init(&pool, NULL, NULL);
    arena_init(&arena, &pool);
    if (rule_parse(rule, &arena, &messages, &parsed) == 0) {
        files = rule_find(&parsed, RULE_HOSTS);
    }
    if (files && are_writable(files)) {
        put(arg, str_make(rule->text, (size_t)(files->text.ptr - rule->text)));
        put_files(files, put, arg);
        put(arg, str_of(files->text.ptr + files->text.len));
    } else {
        put(arg, str_of(rule->text));
    }
    conf_messages_deinit(&messages);
    arena_reset(&arena);
}
