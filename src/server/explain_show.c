// SPDX-License-Identifier: MIT

/* An answer, for a person and for a machine. */

#include <string.h>

#include "base/text.h"
#include "log/escape.h"
#include "server/explain.h"

#define RED "\033[1;31m"
#define GREEN "\033[1;32m"
#define YELLOW "\033[1;33m"
#define PLAIN "\033[0m"

struct show {
    const struct explain_question *question;
    const struct explain_answer *answer;
    bool colours;
    FILE *out;
};

/* In the order of enum policy_action. */
static const struct {
    const char *headline, *word, *colour;
} actions[] = {
    [POLICY_DENY] = {"DENIED", "denied", RED},
    [POLICY_CHALLENGE] = {"CREDENTIALS WANTED", "credentials wanted", YELLOW},
    [POLICY_OPEN] = {"NOT DECIDED", "not decided", YELLOW},
    [POLICY_ALLOW] = {"ALLOWED", "allowed", GREEN},
};

static bool is_builtin(struct str rule)
{
    return str_starts(rule, STR("builtin:"));
}

static const char *origin_text(struct conf_origin origin, char buf[CONF_ORIGIN_TEXT_MAX])
{
    struct text text = text_over(buf, CONF_ORIGIN_TEXT_MAX);

    conf_origin_put(&text, origin);
    return text_cstr(&text);
}

static const char *addr_text(const struct addr *addr, char buf[ADDR_TEXT_MAX + 1])
{
    struct text text = text_over(buf, ADDR_TEXT_MAX + 1);

    addr_put(&text, addr);
    return text_cstr(&text);
}

/* ---- For a person ---- */

static void put_coloured(const struct show *show, enum policy_action action, const char *text)
{
    (void)fprintf(show->out, "%s%s%s", show->colours ? actions[action].colour : "", text,
                  show->colours ? PLAIN : "");
}

/* NAME at FILE:LINE; a builtin name stands nowhere. */
static void put_rule(const struct show *show, struct str rule, struct conf_origin origin)
{
    char buf[CONF_ORIGIN_TEXT_MAX];

    (void)fprintf(show->out, "%.*s", STR_ARG(rule));
    if (!is_builtin(rule)) {
        (void)fprintf(show->out, " at %s", origin_text(origin, buf));
    }
}

/* Why there is no answer. */
static void put_missing(const struct show *show)
{
    const struct explain_answer *answer = show->answer;

    if (answer->end == EXPLAIN_UNRESOLVED) {
        (void)fprintf(show->out, ": the name does not resolve (%s)\n",
                      resolve_status_text(answer->dns));
    } else {
        (void)fprintf(show->out, ": the answer hangs on the %s\n",
                      answer->verdict.needs & POLICY_NEEDS_TIME ? "time (--time)"
                                                                : "user (--user)");
    }
}

static void put_headline(const struct show *show)
{
    const struct policy_verdict *verdict = &show->answer->verdict;

    put_coloured(show, verdict->action, actions[verdict->action].headline);
    if (verdict->action == POLICY_OPEN) {
        put_missing(show);
        return;
    }
    (void)fputs(verdict->action == POLICY_CHALLENGE ? " (407) by " : " by ", show->out);
    put_rule(show, verdict->rule, verdict->origin);
    if (verdict->details.len > 0) {
        (void)fprintf(show->out, ": %.*s", STR_ARG(verdict->details));
    }
    (void)fputc('\n', show->out);
}

static void begin_row(const struct show *show, const char *label)
{
    (void)fprintf(show->out, "  %-12s", label);
}

/* As the proxy would see it. */
static void put_request(const struct show *show)
{
    const struct explain_question *question = show->question;
    char buf[HOST_NAME_MAX_BYTES + 16];
    struct text host = TEXT_OVER(buf);

    begin_row(show, "request");
    (void)fprintf(show->out, "%.*s ", STR_ARG(question->method));
    if (str_eq(question->method, STR("CONNECT"))) {
        host_put(&host, &question->host);
        (void)fprintf(show->out, "%s:%u\n", text_cstr(&host), question->port);
    } else {
        (void)fprintf(show->out, "%.*s\n", STR_ARG(question->target));
    }
}

static const char *user_note(const struct show *show)
{
    if (show->question->is_unknown_user) {
        return " (not in auth.users)";
    }
    return show->answer->is_user_asked ? "" : " (no rule asks who that is)";
}

static void put_client(const struct show *show)
{
    const struct explain_question *question = show->question;
    char buf[ADDR_TEXT_MAX + 1];

    begin_row(show, "client");
    (void)fprintf(show->out, "%s on listener %.*s, ", addr_text(&question->client, buf),
                  STR_ARG(question->listener));
    if (question->user.len > 0) {
        (void)fprintf(show->out, "user %.*s%s\n", STR_ARG(question->user), user_note(show));
    } else {
        (void)fputs("without credentials\n", show->out);
    }
}

static int widest_address(const struct explain_answer *answer)
{
    char buf[ADDR_TEXT_MAX + 1];
    size_t width = 0;

    for (size_t i = 0; i < answer->addr_count; i++) {
        width = MAX(width, strlen(addr_text(&answer->addrs[i].addr, buf)));
    }
    return (int)width;
}

static void put_addresses(const struct show *show)
{
    const struct explain_answer *answer = show->answer;
    char buf[ADDR_TEXT_MAX + 1];
    int width = widest_address(answer);

    for (size_t i = 0; i < answer->addr_count; i++) {
        const struct policy_verdict *verdict = &answer->addrs[i].verdict;

        begin_row(show, i == 0 ? "address" : "");
        (void)fprintf(show->out, "%-*s  ", width, addr_text(&answer->addrs[i].addr, buf));
        put_coloured(show, verdict->action, actions[verdict->action].word);
        if (verdict->action != POLICY_OPEN) {
            (void)fputs(" by ", show->out);
            put_rule(show, verdict->rule, verdict->origin);
        }
        (void)fputc('\n', show->out);
    }
}

/* What an open line waits for. */
static const char *wanted_text(unsigned needs)
{
    if (needs & POLICY_NEEDS_USER) {
        return ", which waits for credentials";
    }
    return needs & POLICY_NEEDS_TIME ? ", which waits for the time"
                                     : ", which might allow it otherwise";
}

/* Why the line that comes nearest is no allow. */
static void put_obstacle(const struct show *show, const struct policy_line *line)
{
    switch (line->answer) {
    case POLICY_YES:
        (void)fputs(", which would allow it otherwise", show->out);
        break;
    case POLICY_LINE_OPEN:
        (void)fputs(wanted_text(line->needs), show->out);
        break;
    case POLICY_NO:
        (void)fprintf(show->out, ", but for '%.*s'", STR_ARG(line->failed));
        if (line->failed_count > 1) {
            (void)fprintf(show->out, " and %zu more", line->failed_count - 1);
        }
        break;
    }
    (void)fputc('\n', show->out);
}

static void put_nearest(const struct show *show)
{
    const struct policy_line *line = &show->answer->nearest;

    begin_row(show, "nearest");
    put_rule(show, line->name, line->origin);
    put_obstacle(show, line);
    begin_row(show, "");
    (void)fprintf(show->out, "%.*s\n", STR_ARG(line->text));
}

static void put_reports(const struct show *show)
{
    const struct policy_verdict *verdict = &show->answer->verdict;

    begin_row(show, "would deny");
    for (size_t i = 0; i < verdict->would_deny_count; i++) {
        (void)fprintf(show->out, "%s%.*s", i > 0 ? ", " : "", STR_ARG(verdict->would_deny[i]));
    }
    (void)fputc('\n', show->out);
}

void explain_show(const struct explain_question *question, const struct explain_answer *answer,
                  bool colours, FILE *out)
{
    const struct show show = {question, answer, colours, out};

    put_headline(&show);
    put_request(&show);
    put_client(&show);
    if (question->time.known) {
        begin_row(&show, "time");
        (void)fprintf(out, "%.*s\n", STR_ARG(question->time_text));
    }
    put_addresses(&show);
    if (answer->verdict.would_deny_count > 0) {
        put_reports(&show);
    }
    if (answer->has_nearest) {
        put_nearest(&show);
    }
}
