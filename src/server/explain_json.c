// SPDX-License-Identifier: MIT

/* An answer as one line of JSON. */

#include "base/text.h"
#include "log/escape.h"
#include "server/explain.h"

#define PIECE_BYTES 256 /* of a string, escaped at once */
#define ESCAPED_MAX 6   /* bytes of one byte's escape */

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

static bool continues_character(char c)
{
    return ((unsigned char)c & 0xc0) == 0x80;
}

/* As much of s as goes into one piece; no character is cut. */
static size_t piece_len(struct str s)
{
    size_t len = MIN(s.len, PIECE_BYTES);
    size_t least = len > 3 ? len - 3 : 1; /* behind it no UTF-8 character begins and does not end */

    while (len < s.len && len > least && continues_character(s.ptr[len])) {
        len--;
    }
    return len;
}

static void put_string(FILE *out, struct str s)
{
    (void)fputc('"', out);
    while (s.len > 0) {
        char buf[PIECE_BYTES * ESCAPED_MAX];
        struct text text = TEXT_OVER(buf);
        size_t len = piece_len(s);

        escape_put(&text, str_head(s, len), ESCAPE_QUOTED, ESCAPE_NO_MAX);
        (void)fwrite(text.ptr, 1, text.len, out);
        s = str_from(s, len);
    }
    (void)fputc('"', out);
}

/* "name":value with what separates it from the member before; empty is null. */
static void put_member(FILE *out, const char *separator, const char *name, struct str value)
{
    (void)fprintf(out, "%s\"%s\":", separator, name);
    if (value.len > 0) {
        put_string(out, value);
    } else {
        (void)fputs("null", out);
    }
}

/* Where a rule stands; null for what stands nowhere. */
static void put_origin(FILE *out, struct conf_origin origin)
{
    char buf[4200]; /* a path and a line */
    struct text text = TEXT_OVER(buf);

    if (origin.file) {
        conf_origin_put(&text, origin);
    }
    put_member(out, ",", "origin", text_str(&text));
}

static void put_addr(FILE *out, const char *separator, const char *name, const struct addr *addr)
{
    char buf[ADDR_TEXT_MAX];
    struct text text = TEXT_OVER(buf);

    addr_put(&text, addr);
    put_member(out, separator, name, text_str(&text));
}

static void put_host(FILE *out, const struct host *host)
{
    char buf[HOST_NAME_MAX_BYTES + 1];
    struct text text = TEXT_OVER(buf);

    host_put(&text, host);
    put_member(out, ",", "host", text_str(&text));
}

static void put_verdict(FILE *out, const char *separator, const struct policy_verdict *verdict)
{
    put_member(out, separator, "verdict", str_of(action_words[verdict->action]));
    put_member(out, ",", "rule", verdict->rule);
    put_origin(out, verdict->origin);
    put_member(out, ",", "details", verdict->details);
}

static void put_question(FILE *out, const struct explain_question *question)
{
    put_member(out, ",", "method", question->method);
    put_member(out, ",", "target", question->target);
    put_host(out, &question->host);
    (void)fprintf(out, ",\"port\":%u", question->port);
    put_addr(out, ",", "client", &question->client);
    put_member(out, ",", "listener", question->listener);
    put_member(out, ",", "user", question->user);
    put_member(out, ",", "time", question->time_text);
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
        put_string(out, verdict->would_deny[i]);
    }
    (void)fputc(']', out);
}

static void put_nearest(FILE *out, const struct policy_line *line)
{
    put_member(out, ",\"nearest\":{", "rule", line->name);
    put_origin(out, line->origin);
    put_member(out, ",", "text", line->text);
    put_member(out, ",", "answer", str_of(answer_words[line->answer]));
    put_member(out, ",", "failed", line->failed);
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
    put_member(out, ",", "missing", missing(answer));
    put_question(out, question);
    put_member(out, ",", "dns",
               answer->was_asked ? str_of(resolve_status_text(answer->dns)) : STR(""));
    put_addresses(out, answer);
    put_reports(out, &answer->verdict);
    if (answer->has_nearest) {
        put_nearest(out, &answer->nearest);
    } else {
        put_member(out, ",", "nearest", STR(""));
    }
    (void)fputs("}\n", out);
}
