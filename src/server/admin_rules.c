// SPDX-License-Identifier: MIT

/* /rules: every line of the policy in force, and how often it has decided. */

#include "base/attr.h"
#include "base/mem.h"
#include "base/text.h"
#include "policy/hits.h"
#include "policy/policy.h"
#include "policy/snapshot.h"
#include "server/admin_private.h"
#include "server/json.h"

#define WIDTH_MAX 40

#define PIECE_ROWS 512

/* Of a request, until its answer is whole. */
struct rules {
    struct admin_request *request;
    FILE *out; /* the request's, of this piece */
    const struct policy *policy;
    const struct hits *hits;
    int name_width, origin_width; /* of the text's columns */
    uint32_t next;                /* position of the first row that is not written yet */
};

static bool is_report(const struct policy_line *line)
{
    return str_eq(line->action, STR("report"));
}

static struct str origin_text(const struct policy_line *line, char buf[CONF_ORIGIN_TEXT_MAX])
{
    struct text text = text_over(buf, CONF_ORIGIN_TEXT_MAX);

    if (line->origin.file) {
        conf_origin_put(&text, line->origin);
    }
    return text_str(&text);
}

static void put_row_json(struct rules *rules, const struct policy_line *line, uint64_t hits)
{
    char buf[CONF_ORIGIN_TEXT_MAX];

    json_put_member(rules->out, "{", "name", line->name);
    json_put_member(rules->out, ",", "action", line->action);
    json_put_member(rules->out, ",", "origin", origin_text(line, buf));
    json_put_member(rules->out, ",", "text", line->text);
    json_put_number(rules->out, ",", is_report(line) ? "would_deny" : "hits", hits);
    (void)fputc('}', rules->out);
}

static void put_row_text(struct rules *rules, const struct policy_line *line, uint64_t hits)
{
    char buf[CONF_ORIGIN_TEXT_MAX];
    struct str origin = origin_text(line, buf);

    (void)fprintf(rules->out, "%12llu  %-*.*s  %-*.*s  %.*s\n", (unsigned long long)hits,
                  rules->name_width, STR_ARG(line->name), rules->origin_width,
                  STR_ARG(origin.len > 0 ? origin : STR("built-in")), STR_ARG(line->text));
}

static void measure(struct rules *rules)
{
    size_t name_width = 4;
    size_t origin_width = 8;

    for (uint32_t i = 0; i < policy_row_count(rules->policy); i++) {
        char buf[CONF_ORIGIN_TEXT_MAX];
        struct policy_line line;

        policy_row(rules->policy, i, &line);
        name_width = MAX(name_width, line.name.len);
        origin_width = MAX(origin_width, origin_text(&line, buf).len);
    }
    rules->name_width = (int)MIN(name_width, WIDTH_MAX);
    rules->origin_width = (int)MIN(origin_width, WIDTH_MAX);
}

/* As the walk goes: the loop guard, the lines, and what decides when none has. */
static uint32_t row_at(const struct rules *rules, uint32_t position)
{
    uint32_t lines = (uint32_t)(policy_row_count(rules->policy) - POLICY_BUILTIN_COUNT);

    if (position == 0) {
        return POLICY_BUILTIN_LOOP;
    }
    return position <= lines ? POLICY_BUILTIN_COUNT + position - 1 : position - lines;
}

static void put_row(struct rules *rules, uint32_t position)
{
    uint32_t row = row_at(rules, position);
    uint64_t hits = hits_sum(rules->hits, row);
    struct policy_line line;

    policy_row(rules->policy, row, &line);
    if (rules->request->wants_text) {
        put_row_text(rules, &line, hits);
    } else {
        (void)fputs(position > 0 ? "," : "", rules->out);
        put_row_json(rules, &line, hits);
    }
}

static void put_head(struct rules *rules, uint64_t generation)
{
    if (rules->request->wants_text) {
        measure(rules);
        (void)fprintf(rules->out, "%12s  %-*s  %-*s  %s\n", "HITS", rules->name_width, "RULE",
                      rules->origin_width, "WHERE", "LINE");
    } else {
        json_put_number(rules->out, "{", "generation", generation);
        (void)fputs(",\"rules\":[", rules->out);
    }
}

static void cancel(struct admin_request *request)
{
    mem_free(request->job);
    admin_answer(request, 503);
}

/* A policy may have so many lines that the client takes its time. */
static void put_piece(struct admin_request *request)
{
    struct rules *rules = request->job;
    uint32_t count = (uint32_t)policy_row_count(rules->policy);
    uint32_t end = MIN(rules->next + PIECE_ROWS, count);

    rules->out = request->out;
    while (rules->next < end) {
        put_row(rules, rules->next++);
    }
    if (end < count) {
        admin_stream(request, put_piece);
        return;
    }
    (void)fputs(request->wants_text ? "" : "]}\n", request->out);
    mem_free(rules);
    request->job = NULL;
    admin_stream_end(request);
}

void admin_route_rules(struct admin_request *request)
{
    const struct snapshot *snapshot = request->view->snapshot;
    struct rules *rules;

    if (evhttp_request_get_command(request->http) == EVHTTP_REQ_HEAD) {
        admin_answer(request, 200);
        return;
    }
    rules = mem_alloc(sizeof(*rules));
    if (!rules) {
        admin_answer_error(request, 503, "out of memory");
        return;
    }
    *rules = (struct rules){.request = request,
                            .out = request->out,
                            .policy = snapshot->policy,
                            .hits = snapshot->hits};
    request->job = rules;
    request->cancel = cancel;
    put_head(rules, snapshot->generation);
    put_piece(request);
}
