// SPDX-License-Identifier: MIT

/* /rules: every line of the policy in force, and how often it has decided. */

#include "base/attr.h"
#include "base/text.h"
#include "policy/hits.h"
#include "policy/policy.h"
#include "policy/snapshot.h"
#include "server/admin_private.h"
#include "server/json.h"

#define ORIGIN_TEXT_MAX 4200 /* a path and a line */
#define WIDTH_MAX 40

struct rules {
    FILE *out;
    const struct policy *policy;
    const struct hits *hits;
    int name_width, origin_width; /* of the text's columns */
};

static bool is_report(const struct policy_line *line)
{
    return str_eq(line->action, STR("report"));
}

static struct str origin_text(const struct policy_line *line, char buf[ORIGIN_TEXT_MAX])
{
    struct text text = text_over(buf, ORIGIN_TEXT_MAX);

    if (line->origin.file) {
        conf_origin_put(&text, line->origin);
    }
    return text_str(&text);
}

static void put_row_json(struct rules *rules, const struct policy_line *line, uint64_t hits)
{
    char buf[ORIGIN_TEXT_MAX];

    json_put_member(rules->out, "{", "name", line->name);
    json_put_member(rules->out, ",", "action", line->action);
    json_put_member(rules->out, ",", "origin", origin_text(line, buf));
    json_put_member(rules->out, ",", "text", line->text);
    json_put_number(rules->out, ",", is_report(line) ? "would_deny" : "hits", hits);
    (void)fputc('}', rules->out);
}

static void put_row_text(struct rules *rules, const struct policy_line *line, uint64_t hits)
{
    char buf[ORIGIN_TEXT_MAX];
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
        char buf[ORIGIN_TEXT_MAX];
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

void admin_route_rules(struct admin_request *request)
{
    const struct snapshot *snapshot = request->view->snapshot;
    struct rules rules = {.out = request->out, .policy = snapshot->policy, .hits = snapshot->hits};

    if (request->wants_text) {
        measure(&rules);
        (void)fprintf(rules.out, "%12s  %-*s  %-*s  %s\n", "HITS", rules.name_width, "RULE",
                      rules.origin_width, "WHERE", "LINE");
    } else {
        json_put_number(rules.out, "{", "generation", snapshot->generation);
        (void)fputs(",\"rules\":[", rules.out);
    }
    for (uint32_t i = 0; i < policy_row_count(rules.policy); i++) {
        uint32_t row = row_at(&rules, i);
        uint64_t hits = hits_sum(rules.hits, row);
        struct policy_line line;

        policy_row(rules.policy, row, &line);
        if (request->wants_text) {
            put_row_text(&rules, &line, hits);
        } else {
            (void)fputs(i > 0 ? "," : "", rules.out);
            put_row_json(&rules, &line, hits);
        }
    }
    (void)fputs(request->wants_text ? "" : "]}\n", rules.out);
    admin_answer(request, 200);
}
