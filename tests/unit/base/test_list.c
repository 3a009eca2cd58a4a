// SPDX-License-Identifier: MIT
#include <criterion/criterion.h>

#include "base/list.h"

struct item {
    int value;
    struct list node;
};

static struct list head;
static struct item items[4];

static void set_up(void)
{
    list_init(&head);
    for (int i = 0; i < 4; i++) {
        items[i].value = i;
        list_init(&items[i].node);
    }
}

TestSuite(list, .init = set_up);

static int digits(const struct list *from)
{
    int all = 0;

    LIST_FOR_EACH (node, next, from) {
        all = all * 10 + LIST_ITEM(node, struct item, node)->value;
    }
    return all;
}

Test(list, keeps_order_at_both_ends)
{
    cr_expect(list_empty(&head));
    list_push_back(&head, &items[2].node);
    list_push_back(&head, &items[3].node);
    list_push_front(&head, &items[1].node);
    cr_expect_eq(digits(&head), 123);
    cr_expect_eq(LIST_FIRST(&head, struct item, node)->value, 1);
    cr_expect_eq(LIST_LAST(&head, struct item, node)->value, 3);
}

Test(list, removing_twice_is_harmless)
{
    list_push_back(&head, &items[1].node);
    list_push_back(&head, &items[2].node);
    list_remove(&items[1].node);
    list_remove(&items[1].node);
    cr_expect_not(list_linked(&items[1].node));
    cr_expect(list_linked(&items[2].node));
    cr_expect_eq(digits(&head), 2);
}

Test(list, body_may_remove_its_node)
{
    for (int i = 1; i < 4; i++) {
        list_push_back(&head, &items[i].node);
    }
    LIST_FOR_EACH (node, next, &head) {
        list_remove(node);
    }
    cr_expect(list_empty(&head));
}

Test(list, splices)
{
    struct list other;

    list_init(&other);
    list_splice_back(&head, &other);
    cr_expect(list_empty(&head));
    list_push_back(&head, &items[1].node);
    list_push_back(&other, &items[2].node);
    list_push_back(&other, &items[3].node);
    list_splice_back(&head, &other);
    cr_expect_eq(digits(&head), 123);
    cr_expect(list_empty(&other));
}
