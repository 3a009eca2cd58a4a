// SPDX-License-Identifier: MIT
#include "policy/lines.h"

#include "base/err.h"

int lines_compare(const struct lines_entry *a, const struct lines_entry *b)
{
    int order = (int)b->is_keyed - (int)a->is_keyed;

    return order != 0 ? order : (a->line > b->line) - (a->line < b->line);
}

void lines_append(struct lines *lines, uint32_t **next, struct lines_entry entry)
{
    if (lines->count == 0) {
        lines->items = *next;
    } else if (lines->items[lines->count - 1] == entry.line) {
        return;
    }
    *(*next)++ = entry.line;
    lines->count++;
    lines->keyed += entry.is_keyed;
}

void lines_hit(struct lines_hits *hits, struct lines lines)
{
    if (lines.count > 0) {
        ASSERT(hits->count < LINES_HITS_MAX);
        hits->items[hits->count++] = lines;
    }
}

static bool have(const uint32_t *items, size_t count, uint32_t line)
{
    size_t low = 0;
    size_t high = count;

    while (low < high) { /* to the first that is not below line */
        size_t middle = low + (high - low) / 2;

        if (items[middle] < line) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < count && items[low] == line;
}

bool lines_have(struct lines lines, uint32_t line)
{
    return have(lines.items, lines.keyed, line) ||
           have(lines.items + lines.keyed, lines.count - lines.keyed, line);
}

bool lines_hits_have(const struct lines_hits *hits, uint32_t line)
{
    for (unsigned i = 0; i < hits->count; i++) {
        if (lines_have(hits->items[i], line)) {
            return true;
        }
    }
    return false;
}
