// SPDX-License-Identifier: MIT
#include <criterion/criterion.h>

#include "policy/lines.h"

Test(lines, keyed_ones_come_first_and_each_kind_ascends)
{
    static const struct lines_entry order[] = {{1, true}, {3, true}, {0, false}, {2, false}};

    for (int i = 0; i < 4; i++) {
        for (int j = 0; j < 4; j++) {
            int wanted = (i > j) - (i < j);

            cr_expect_eq(lines_compare(&order[i], &order[j]), wanted, "%d %d", i, j);
        }
    }
}

Test(lines, adds_each_line_once)
{
    static const struct lines_entry entries[] = {{2, true},  {5, true},  {5, true},
                                                 {0, false}, {5, false}, {5, false}};
    uint32_t room[6];
    uint32_t *next = room;
    struct lines lines = {0};

    for (size_t i = 0; i < 6; i++) {
        lines_append(&lines, &next, entries[i]);
    }
    cr_expect_eq(lines.items, room);
    cr_expect_eq(next, room + 4);
    cr_expect_eq(lines.count, 4);
    cr_expect_eq(lines.keyed, 2);
    cr_expect(room[0] == 2 && room[1] == 5 && room[2] == 0 && room[3] == 5);
}

Test(lines, finds_lines_of_either_kind)
{
    static const uint32_t items[] = {2, 5, 9, 0, 3, 7, 8};

    for (uint32_t keyed = 0; keyed <= 3; keyed += 3) {
        struct lines lines = {.items = items + 3 - keyed, .count = 4 + keyed, .keyed = keyed};

        for (uint32_t line = 0; line < 12; line++) {
            bool is_keyed = keyed > 0 && (line == 2 || line == 5 || line == 9);
            bool is_other = line == 0 || line == 3 || line == 7 || line == 8;

            cr_expect_eq(lines_have(lines, line), is_keyed || is_other, "%u", line);
        }
    }
}

Test(lines, notes_only_hits_that_have_lines)
{
    static const uint32_t items[] = {4, 6};
    static struct lines_hits hits;

    lines_hit(&hits, (struct lines){0});
    cr_expect_eq(hits.count, 0);
    cr_expect_not(lines_hits_have(&hits, 4));
    lines_hit(&hits, (struct lines){items, 1, 1});
    lines_hit(&hits, (struct lines){items + 1, 1, 0});
    cr_expect_eq(hits.count, 2);
    cr_expect(lines_hits_have(&hits, 4));
    cr_expect(lines_hits_have(&hits, 6));
    cr_expect_not(lines_hits_have(&hits, 5));
}
