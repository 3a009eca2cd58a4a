// SPDX-License-Identifier: MIT

/* What is most likely not meant: lines that a configuration may have, but should not. */

#include "base/addr.h"
#include "conf/conf.h"
#include "policy/cover.h"
#include "policy/policy_private.h"

#define COMPARISONS_MAX 20000000 /* a fraction of a second */

struct warner {
    const struct conf *conf;
    struct conf_messages *messages;
};

static void warn(const struct warner *w, const struct line *line, const char *text)
{
    conf_messages_add(w->messages, true, line->origin, "access.%.*s: %s", STR_ARG(line->name),
                      text);
}

/* ---- Lines that never decide ---- */

static void warn_of_covered(const struct warner *w, const struct line *line,
                            const struct line *earlier, bool save_inner)
{
    char buf[CONF_ORIGIN_TEXT_MAX];
    struct text where = TEXT_OVER(buf);

    conf_origin_put(&where, earlier->origin);
    conf_messages_add(
        w->messages, true, line->origin,
        "access.%.*s: never decides%s, because access.%.*s at %s always does before it",
        STR_ARG(line->name),
        save_inner ? " (but for an IPv4 address inside of another: NAT64, 6to4, Teredo)" : "",
        STR_ARG(earlier->name), text_cstr(&where));
}

static bool is_self_alone(const struct line *line)
{
    const struct rule_condition *to = rule_find(&line->rule, RULE_TO);

    return to && to->to.has_only && to->to.only.classes == RULE_CLASS_SELF &&
           to->to.only.net_count == 0;
}

/* ---- Who can reach a line ---- */

static bool is_local_bind(const struct conf_bind *bind)
{
    return bind->kind == CONF_BIND_UNIX || bind->kind == CONF_BIND_SYSTEMD ||
           (bind->kind == CONF_BIND_IP && addr_is_loopback(&bind->addr));
}

/* An inherited socket is taken for what its administrator knows it to be. */
static bool is_local_listener(const struct conf_listener *listener)
{
    for (size_t i = 0; i < listener->bind_count; i++) {
        if (!is_local_bind(&listener->binds[i])) {
            return false;
        }
    }
    return true;
}

static bool takes_listener(const struct line *line, const struct conf_listener *listener)
{
    const struct rule_condition *condition = rule_find(&line->rule, RULE_LISTENER);

    return !condition || rule_words_have(condition->words.items, condition->words.count,
                                         str_of(listener->name)) != condition->negated;
}

/* A listener of the line's that the network can reach, or NULL. */
static const struct conf_listener *find_open_listener(const struct conf *conf,
                                                      const struct line *line)
{
    for (size_t i = 0; i < conf->listener_count; i++) {
        if (takes_listener(line, &conf->listeners[i]) && !is_local_listener(&conf->listeners[i])) {
            return &conf->listeners[i];
        }
    }
    return NULL;
}

static bool takes_other_machines(const struct line *line)
{
    const unsigned local = RULE_CLASS_LOOPBACK | RULE_CLASS_HOST | RULE_CLASS_UNIX;
    const struct rule_condition *from = rule_find(&line->rule, RULE_FROM);

    if (!from || from->negated || (from->from.classes & ~local) != 0) {
        return true;
    }
    for (size_t i = 0; i < from->from.net_count; i++) {
        if (!addr_is_loopback(&from->from.nets[i].addr)) {
            return true;
        }
    }
    return false;
}

static bool is_open(const struct warner *w, const struct line *line)
{
    bool is_bound = rule_find(&line->rule, RULE_LISTENER) != NULL;

    return takes_other_machines(line) && (!is_bound || find_open_listener(w->conf, line));
}

/* Who would send a password there sends it for all to read on the way. */
static void warn_of_clear_text(const struct warner *w, const struct line *line)
{
    const struct conf_listener *listener = find_open_listener(w->conf, line);

    if (line->action == LINE_REPORT || !rule_find(&line->rule, RULE_USER) || !listener ||
        !takes_other_machines(line)) {
        return;
    }
    conf_messages_add(w->messages, true, line->origin,
                      "access.%.*s: asks for passwords (Basic), which cross the network to [listen "
                      "%s] in clear text",
                      STR_ARG(line->name), listener->name);
}

static void warn_of_ports(const struct warner *w, const struct line *line)
{
    if (line->action == LINE_ALLOW && !rule_find(&line->rule, RULE_PORT) && is_open(w, line)) {
        warn(w, line, "is open to other machines, and to every port; say which with 'port'");
    }
}

void policy_warn(const struct policy *policy, const struct conf *conf,
                 struct conf_messages *messages)
{
    const struct warner w = {conf, messages};
    struct cover cover = {.table = &policy->access, .left = COMPARISONS_MAX};

    for (uint32_t i = 0; i < policy->access.count; i++) {
        const struct line *line = &policy->access.lines[i];
        bool save_inner = false;
        const struct line *earlier = cover_find(&cover, i, &save_inner);

        if (earlier) {
            warn_of_covered(&w, line, earlier, save_inner);
        } else if (is_self_alone(line)) {
            warn(&w, line, "never decides, because builtin:loop guards 'self' before every rule");
        }
        warn_of_ports(&w, line);
        warn_of_clear_text(&w, line);
    }
}
