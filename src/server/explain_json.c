// SPDX-License-Identifier: MIT

/* An answer as one line of JSON. */

#include "base/text.h"
#include "server/explain.h"
#include "server/json.h"

/* In the order of enum policy_action. */
static const char *const action_words[] = {
    [POLICY_DENY] = "deny",
    [POLICY_CHALLENGE] = "challenge",
    [POLICY_OPEN] = "undecided",
    [POLICY_ALLOW] = "allow",
};

static const char *const answer_words[] = {
    [POLICY_NO] = "no",
    [POLICY_LINE_OPEN] = "open",
    [POLICY_YES] = "yes",
};

/* Where a rule stands; null for what stands nowhere. */
static void put_origin(FILE *out, struct conf_origin origin)
{
    char buf[CONF_ORIGIN_TEXT_MAX];
    struct text text = TEXT_OVER(buf);

    if (origin.file) {
        conf_origin_put(&text, origin);
    }
    json_put_member(out, ",", "origin", text_str(&text));
}

static void put_addr(FILE *out, const char *separator, const char *name, const struct addr *addr)
{
    char buf[ADDR_TEXT_MAX];
    struct text text = TEXT_OVER(buf);

    addr_put(&text, addr);
    json_put_member(out, separator, name, text_str(&text));
}

static void put_host(FILE *out, const struct host *host)
{
    char buf[HOST_NAME_MAX_BYTES + 1];
    struct text text = TEXT_OVER(buf);

    host_put(&text, host);
    json_put_member(out, ",", "host", text_str(&text));
}

static void put_verdict(FILE *out, const char *separator, const struct policy_verdict *verdict)
{
    json_put_member(out, separator, "verdict", str_of(action_words[verdict->action]));
    json_put_member(out, ",", "rule", verdict->rule);
    put_origin(out, verdict->origin);
    json_put_member(out, ",", "details", verdict->details);
}

static void put_question(FILE *out, const struct explain_question *question)
{
    json_put_member(out, ",", "method", question->method);
    json_put_member(out, ",", "target", question->target);
    put_host(out, &question->host);
    (void)fprintf(out, ",\"port\":%u", question->port);
    put_addr(out, ",", "client", &question->client);
    json_put_member(out, ",", "listener", question->listener);
    json_put_member(out, ",", "user", question->user);
    json_put_member(out, ",", "time", question->time_text);
}

static void put_addresses(FILE *out, const struct explain_answer *answer)
{
    (void)fputs(",\"addresses\":[", out);
    for (size_t i = 0; i < answer->addr_count; i++) {
        put_addr(out, i > 0 ? ",{" : "{", "address", &answer->addrs[i].addr);
        put_verdict(out, ",", &answer->addrs[i].verdict);
        (void)fputc('}', out);
    }
    (void)fputc(']', out);
}

static void put_reports(FILE *out, const struct policy_verdict *verdict)
{
    (void)fputs(",\"would_deny\":[", out);
    for (size_t i = 0; i < verdict->would_deny_count; i++) {
        (void)fputs(i > 0 ? "," : "", out);
        json_put_string(out, verdict->would_deny[i]);
    }
    (void)fputc(']', out);
}

static void put_nearest(FILE *out, const struct policy_line *line)
{
    json_put_member(out, ",\"nearest\":{", "rule", line->name);
    put_origin(out, line->origin);
    json_put_member(out, ",", "text", line->text);
    json_put_member(out, ",", "answer", str_of(answer_words[line->answer]));
    json_put_member(out, ",", "failed", line->failed);
    (void)fprintf(out, ",\"failed_count\":%zu}", line->failed_count);
}

/* What an open answer waits for. */
static struct str missing(const struct explain_answer *answer)
{
    if (answer->verdict.action != POLICY_OPEN) {
        return STR("");
    }
    if (answer->end == EXPLAIN_UNRESOLVED) {
        return STR("address");
    }
    return answer->verdict.needs & POLICY_NEEDS_TIME ? STR("time") : STR("user");
}

void explain_show_json(const struct explain_question *question, const struct explain_answer *answer,
                       FILE *out)
{
    put_verdict(out, "{", &answer->verdict);
    json_put_member(out, ",", "missing", missing(answer));
    put_question(out, question);
    json_put_member(out, ",", "dns",
                    answer->was_asked ? str_of(resolve_status_text(answer->dns)) : STR(""));
    put_addresses(out, answer);
    put_reports(out, &answer->verdict);
    if (answer->has_nearest) {
        put_nearest(out, &answer->nearest);
    } else {
        json_put_member(out, ",", "nearest", STR(""));
    }
    (void)fputs("}\n", out);
}
