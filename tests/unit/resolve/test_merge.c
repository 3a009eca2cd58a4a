// SPDX-License-Identifier: MIT
#include <criterion/criterion.h>

#include "base/attr.h"
#include "resolve/merge.h"

enum { A = MERGE_BIT(DNS_A), AAAA = MERGE_BIT(DNS_AAAA) };

/* clang-format off */
#define NONE {MERGE_UNWANTED, RESOLVE_OK}
#define WAIT {MERGE_PENDING, RESOLVE_OK}
#define IS(status) {MERGE_ANSWERED, RESOLVE_##status}
/* clang-format on */

struct merge_case {
    struct merge_part a, aaaa;
    unsigned reported;
    bool hold_over;
    /* expected */
    bool report, done, holds;
    unsigned families;
    enum resolve_status status; /* looked at when report */
};

static void check(const struct merge_case *cases, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct merge_case *c = &cases[i];
        struct merge_facts facts = {
            .parts = {[DNS_A] = c->a, [DNS_AAAA] = c->aaaa},
            .reported = c->reported,
            .hold_over = c->hold_over,
        };
        struct merge_step step = merge_next(&facts);

        cr_expect_eq(step.report, c->report, "case %zu: report", i);
        cr_expect_eq(step.done, c->done, "case %zu: done", i);
        cr_expect_eq(step.families, c->families, "case %zu: families %u", i, step.families);
        cr_expect_eq(merge_holds(&facts), c->holds, "case %zu: holds", i);
        if (c->report) {
            cr_expect_eq(step.status, c->status, "case %zu: status %d", i, (int)step.status);
        }
    }
}

Test(merge, waits_while_nothing_is_known)
{
    static const struct merge_case cases[] = {
        {.a = WAIT, .aaaa = WAIT},
        {.a = WAIT, .aaaa = WAIT, .hold_over = true},
        {.a = NONE, .aaaa = WAIT},
        {.a = WAIT, .aaaa = NONE},
    };
    check(cases, ARRAY_LEN(cases));
}

Test(merge, reports_aaaa_at_once_and_holds_a)
{
    static const struct merge_case cases[] = {
        {.a = WAIT, .aaaa = IS(OK), .report = true, .families = AAAA},
        {.a = WAIT, .aaaa = IS(OK), .reported = AAAA},
        {.a = IS(OK), .aaaa = WAIT, .holds = true},
        {.a = IS(OK), .aaaa = WAIT, .hold_over = true, .report = true, .families = A},
        {.a = IS(OK), .aaaa = WAIT, .hold_over = true, .reported = A},
    };
    check(cases, ARRAY_LEN(cases));
}

Test(merge, ends_with_what_was_not_reported_before)
{
    static const struct merge_case cases[] = {
        {.a = IS(OK), .aaaa = IS(OK), .report = true, .done = true, .families = A | AAAA},
        {.a = IS(OK),
         .aaaa = IS(OK),
         .reported = AAAA,
         .report = true,
         .done = true,
         .families = A},
        {.a = IS(OK),
         .aaaa = IS(OK),
         .reported = A,
         .report = true,
         .done = true,
         .families = AAAA},
        {.a = IS(OK), .aaaa = IS(NODATA), .report = true, .done = true, .families = A},
        {.a = IS(SERVFAIL), .aaaa = IS(OK), .report = true, .done = true, .families = AAAA},
        {.a = IS(OK), .aaaa = NONE, .report = true, .done = true, .families = A},
        {.a = NONE, .aaaa = IS(OK), .report = true, .done = true, .families = AAAA},
    };
    check(cases, ARRAY_LEN(cases));
}

Test(merge, failure_after_addresses_is_ok_without_more)
{
    static const struct merge_case cases[] = {
        {.a = IS(TIMEOUT), .aaaa = IS(OK), .reported = AAAA, .report = true, .done = true},
        {.a = IS(OK), .aaaa = IS(NXDOMAIN), .reported = A, .report = true, .done = true},
    };
    check(cases, ARRAY_LEN(cases));
}

Test(merge, failure_waits_for_the_other_family)
{
    static const struct merge_case cases[] = {
        {.a = IS(NXDOMAIN), .aaaa = WAIT},
        {.a = WAIT, .aaaa = IS(NXDOMAIN)},
        {.a = WAIT, .aaaa = IS(NODATA), .hold_over = true},
        {.a = IS(SERVFAIL), .aaaa = WAIT, .hold_over = true},
    };
    check(cases, ARRAY_LEN(cases));
}

Test(merge, tells_the_more_telling_failure)
{
    static const struct merge_case cases[] = {
        {.a = IS(NXDOMAIN),
         .aaaa = IS(SERVFAIL),
         .report = true,
         .done = true,
         .status = RESOLVE_NXDOMAIN},
        {.a = IS(TIMEOUT),
         .aaaa = IS(NXDOMAIN),
         .report = true,
         .done = true,
         .status = RESOLVE_NXDOMAIN},
        {.a = IS(NODATA),
         .aaaa = IS(NXDOMAIN),
         .report = true,
         .done = true,
         .status = RESOLVE_NXDOMAIN},
        {.a = IS(NODATA),
         .aaaa = IS(NODATA),
         .report = true,
         .done = true,
         .status = RESOLVE_NODATA},
        {.a = IS(NODATA),
         .aaaa = IS(TIMEOUT),
         .report = true,
         .done = true,
         .status = RESOLVE_TIMEOUT},
        {.a = IS(SERVFAIL),
         .aaaa = IS(TIMEOUT),
         .report = true,
         .done = true,
         .status = RESOLVE_SERVFAIL},
        {.a = IS(TIMEOUT),
         .aaaa = IS(ERROR),
         .report = true,
         .done = true,
         .status = RESOLVE_TIMEOUT},
        {.a = IS(ERROR), .aaaa = IS(NODATA), .report = true, .done = true, .status = RESOLVE_ERROR},
        {.a = IS(SERVFAIL), .aaaa = NONE, .report = true, .done = true, .status = RESOLVE_SERVFAIL},
        {.a = NONE, .aaaa = NONE, .report = true, .done = true, .status = RESOLVE_NODATA},
    };
    check(cases, ARRAY_LEN(cases));
}
