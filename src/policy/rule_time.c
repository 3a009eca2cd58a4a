// SPDX-License-Identifier: MIT

/* What stands behind `time`. */

#include "policy/rule_read.h"

#define DAY_MINUTES 1440
#define ALL_DAYS 0x7f

/* 0 is Sunday; -1: no day. */
static int find_day(struct str word)
{
    static const char *const names[] = {"sun", "mon", "tue", "wed", "thu", "fri", "sat"};

    for (int i = 0; i < (int)ARRAY_LEN(names); i++) {
        if (str_ieq(word, str_of(names[i]))) {
            return i;
        }
    }
    return -1;
}

/* "mon" or "mon-fri", which may pass over the end of the week; 0: neither. */
static unsigned read_day_range(struct str item)
{
    size_t dash = str_find(item, '-');
    int day = find_day(str_head(item, dash));
    int last = dash < item.len ? find_day(str_from(item, dash + 1)) : day;
    unsigned days = 0;

    if (day < 0 || last < 0) {
        return 0;
    }
    for (; day != last; day = (day + 1) % 7) {
        days |= 1U << day;
    }
    return days | 1U << last;
}

static bool read_days(struct rule_reader *reader, struct str list, unsigned char *ret)
{
    bool failed = false;
    unsigned days = 0;
    struct str item;

    while (!failed && rule_next_item(reader, &list, &item, &failed)) {
        unsigned more = read_day_range(item);

        if (more == 0) {
            rule_complain(reader,
                          "'%.*s' is no day (mon, tue, wed, thu, fri, sat, sun, or a range of "
                          "them), and no time as in 08:00-17:30",
                          STR_ARG(rule_shown(item)));
            failed = true;
        }
        days |= more;
    }
    *ret = (unsigned char)days;
    return !failed;
}

/* HH:MM, up to max. */
static bool read_minute(struct str text, unsigned max, unsigned short *ret)
{
    uint64_t hours;
    uint64_t minutes;

    if (text.len != 5 || text.ptr[2] != ':' || !str_parse_u64(str_head(text, 2), 24, &hours) ||
        !str_parse_u64(str_from(text, 3), 59, &minutes) || hours * 60 + minutes > max) {
        return false;
    }
    *ret = (unsigned short)(hours * 60 + minutes);
    return true;
}

static bool read_clock(struct rule_reader *reader, struct str clock, struct rule_span *span)
{
    size_t dash = str_find(clock, '-');

    if (!read_minute(str_head(clock, dash), DAY_MINUTES - 1, &span->from) ||
        !read_minute(str_from(clock, dash + 1), DAY_MINUTES, &span->to)) {
        rule_complain(reader, "'%.*s' is no time as in 08:00-17:30 (24:00 may end it)",
                      STR_ARG(rule_shown(clock)));
        return false;
    }
    if (span->from == span->to) {
        rule_complain(reader, "'%.*s' ends when it begins; a whole day is 00:00-24:00",
                      STR_ARG(rule_shown(clock)));
        return false;
    }
    return true;
}

bool rule_read_span(struct rule_reader *reader, struct str days, struct str clock,
                    struct rule_condition *ret)
{
    struct rule_span span = {.days = ALL_DAYS, .from = 0, .to = DAY_MINUTES};

    if (days.len > 0 && !read_days(reader, days, &span.days)) {
        return false;
    }
    if (clock.len > 0 && !read_clock(reader, clock, &span)) {
        return false;
    }
    ret->span = span;
    return true;
}
