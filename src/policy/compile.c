// SPDX-License-Identifier: MIT

/* From rule lines to a policy. */

#include <errno.h>
#include <string.h>

#include "base/err.h"
#include "base/file.h"
#include "base/mem.h"
#include "conf/conf.h"
#include "policy/policy.h"
#include "policy/policy_private.h"

#define TABLE "access"

struct compiler {
    struct policy *policy;
    const struct policy *previous; /* NULL: none */
    const struct conf *conf;
    struct conf_messages *messages;
    const struct conf_rule *rule; /* the line that is compiled */
};

static void complain(const struct compiler *c, struct str text, const char *detail)
{
    conf_messages_add(c->messages, false, c->rule->origin, "%s.%s: %.*s%s", c->rule->table,
                      c->rule->name, STR_ARG(text), detail);
}

/* ---- What a line means in this configuration ---- */

static void set_action(const struct compiler *c, struct line *line)
{
    static const struct {
        const char *word;
        enum line_action action;
    } actions[] = {{"allow", LINE_ALLOW}, {"deny", LINE_DENY}, {"report", LINE_REPORT}};
    struct str word = line->rule.action;

    for (size_t i = 0; i < ARRAY_LEN(actions); i++) {
        if (str_eq(word, str_of(actions[i].word))) {
            line->action = actions[i].action;
            return;
        }
    }
    if (word.len > 0) { /* else the rule is empty, and that was told */
        conf_messages_add(c->messages, false, c->rule->origin,
                          "%s.%s: '%.*s' is no action: a rule begins with allow, deny or report",
                          c->rule->table, c->rule->name, (int)MIN(word.len, 80), word.ptr);
    }
}

static bool has_listener(const struct conf *conf, struct str name)
{
    for (size_t i = 0; i < conf->listener_count; i++) {
        if (str_eq(name, str_of(conf->listeners[i].name))) {
            return true;
        }
    }
    return false;
}

static void check_listeners(const struct compiler *c, const struct rule_condition *condition)
{
    for (size_t i = 0; i < condition->words.count; i++) {
        struct str name = condition->words.items[i];

        if (!has_listener(c->conf, name)) {
            conf_messages_add(c->messages, false, c->rule->origin,
                              "%s.%s: there is no [listen %.*s]", c->rule->table, c->rule->name,
                              (int)MIN(name.len, 80), name.ptr);
        }
    }
}

static int load_list(const struct compiler *c, struct str path, const struct domains **ret)
{
    struct policy *policy = c->policy;
    int error = domains_shelf_get(&policy->shelf, c->previous ? &c->previous->shelf : NULL,
                                  path.ptr, c->messages, ret);

    if (error == -ENOMEM) {
        return error;
    }
    if (error) {
        conf_messages_add(c->messages, false, c->rule->origin, "%s.%s: hosts %s: %s",
                          c->rule->table, c->rule->name, path.ptr,
                          error == FILE_NOT_REGULAR ? "it is no regular file" : strerror(-error));
    }
    return 0;
}

static int load_lists(const struct compiler *c, struct rule_condition *condition)
{
    size_t count = condition->files.count;
    const struct domains **lists =
        arena_alloc(&c->policy->arena, count * sizeof(const struct domains *));
    int error = lists ? 0 : -ENOMEM;

    for (size_t i = 0; i < count && !error; i++) {
        lists[i] = NULL;
        error = load_list(c, condition->files.paths[i], &lists[i]);
    }
    condition->files.lists = lists;
    return error;
}

static int check_condition(const struct compiler *c, struct rule_condition *condition)
{
    switch (condition->kind) {
    case RULE_LISTENER:
        check_listeners(c, condition);
        break;
    case RULE_USER:
        c->policy->needs |= POLICY_NEEDS_USER;
        if (!c->conf->auth.users_path) {
            complain(c, STR("'user' wants auth.users, a file of users and their passwords"), "");
        }
        break;
    case RULE_TIME:
        c->policy->needs |= POLICY_NEEDS_TIME;
        break;
    case RULE_HOSTS:
        return load_lists(c, condition);
    case RULE_PORT:
    case RULE_METHOD:
    case RULE_FROM:
    case RULE_TO:
    case RULE_HOST:
    case RULE_KIND_COUNT:
        break;
    }
    return 0;
}

/* ---- allow without to ---- */

static int name_in_details(struct compiler *c, struct line *line)
{
    char buf[128];
    struct text details = TEXT_OVER(buf);

    text_printf(&details, "rule %s allows it to public addresses only", c->rule->name);
    line->private_details = arena_copy(&c->policy->arena, text_str(&details));
    return line->private_details.ptr ? 0 : -ENOMEM;
}

/* The conditions with one more, of `to`, in its place. */
static struct rule_condition *insert_to(struct compiler *c, struct rule *rule)
{
    struct rule_condition *grown =
        arena_alloc(&c->policy->arena, (rule->condition_count + 1) * sizeof(*grown));
    size_t at = 0;

    if (!grown) {
        return NULL;
    }
    while (at < rule->condition_count && rule->conditions[at].kind < RULE_TO) {
        at++;
    }
    memcpy(grown, rule->conditions, at * sizeof(*grown));
    memcpy(grown + at + 1, rule->conditions + at, (rule->condition_count - at) * sizeof(*grown));
    grown[at] = (struct rule_condition){.kind = RULE_TO};
    rule->conditions = grown;
    rule->condition_count++;
    return &grown[at];
}

static struct rule_condition *find_to(struct rule *rule)
{
    for (size_t i = 0; i < rule->condition_count; i++) {
        if (rule->conditions[i].kind == RULE_TO) {
            return &rule->conditions[i];
        }
    }
    return NULL;
}

/* "An allow without a to means to public"; a `not to` stays beside it. */
static int imply_public(struct compiler *c, struct line *line)
{
    struct rule_condition *to = find_to(&line->rule);

    if (line->action != LINE_ALLOW || (to && to->to.has_only)) {
        return 0;
    }
    if (!to) {
        to = insert_to(c, &line->rule);
    }
    if (!to) {
        return -ENOMEM;
    }
    to->to.has_only = true;
    to->to.is_implied = true;
    to->to.only = (struct rule_addrs){.classes = RULE_CLASS_PUBLIC};
    to->text = STR("to public");
    return name_in_details(c, line);
}

/* ---- The whole ---- */

static int compile_line(struct compiler *c, struct line *line)
{
    int error = rule_parse(c->rule, &c->policy->arena, c->messages, &line->rule);

    if (error) {
        return error;
    }
    line->name = str_of(c->rule->name);
    line->text = str_of(c->rule->text);
    line->origin = c->rule->origin;
    set_action(c, line);
    for (size_t i = 0; i < line->rule.condition_count && !error; i++) {
        error = check_condition(c, &line->rule.conditions[i]);
    }
    return error ? error : imply_public(c, line);
}

static int compile(struct compiler *c)
{
    struct policy *policy = c->policy;
    struct line *lines = arena_alloc(&policy->arena, c->conf->rule_count * sizeof(*lines));
    uint32_t count = 0;
    int error = lines ? 0 : -ENOMEM;

    for (size_t i = 0; i < c->conf->rule_count && !error; i++) {
        c->rule = &c->conf->rules[i];
        if (str_eq(str_of(c->rule->table), STR(TABLE))) {
            lines[count] = (struct line){.number = count};
            error = compile_line(c, &lines[count++]);
        }
    }
    return error ? error : table_init(&policy->access, lines, count, &policy->arena);
}

int policy_new(const struct conf *conf, const struct policy *previous,
               struct conf_messages *messages, struct policy **ret)
{
    struct policy *policy = mem_zalloc(sizeof(*policy));
    struct compiler compiler = {
        .policy = policy, .previous = previous, .conf = conf, .messages = messages};
    size_t errors = messages->error_count;
    int error;

    if (!policy) {
        return -ENOMEM;
    }
    arena_pool_init(&policy->pool, NULL, NULL);
    arena_init(&policy->arena, &policy->pool);
    error = compile(&compiler);
    if (error) {
        policy_free(policy);
        return error;
    }
    if (messages->error_count == errors) {
        policy_warn(policy, conf, messages);
    }
    *ret = policy;
    return 0;
}

void policy_free(struct policy *policy)
{
    if (!policy) {
        return;
    }
    domains_shelf_deinit(&policy->shelf);
    arena_reset(&policy->arena);
    mem_free(policy);
}

unsigned policy_needs(const struct policy *policy)
{
    return policy->needs;
}
