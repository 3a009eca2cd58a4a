// SPDX-License-Identifier: MIT
#pragma once

/*
 * An intrusive doubly linked list. A node that is in no list points to
 * itself, so that list_remove is harmless twice and list_linked is a look at
 * one pointer. The list owns nothing.
 */

#include <stdbool.h>

#include "base/attr.h"

struct list {
    struct list *next;
    struct list *prev;
};

static inline void list_init(struct list *node)
{
    node->next = node;
    node->prev = node;
}

static inline bool list_empty(const struct list *head)
{
    return head->next == head;
}

static inline bool list_linked(const struct list *node)
{
    return node->next != node;
}

static inline void list_insert_between(struct list *node, struct list *prev, struct list *next)
{
    node->prev = prev;
    node->next = next;
    prev->next = node;
    next->prev = node;
}

/* At the front / at the back of head's list; the node must be in no list. */
static inline void list_push_front(struct list *head, struct list *node)
{
    list_insert_between(node, head, head->next);
}

static inline void list_push_back(struct list *head, struct list *node)
{
    list_insert_between(node, head->prev, head);
}

static inline void list_remove(struct list *node)
{
    node->prev->next = node->next;
    node->next->prev = node->prev;
    list_init(node);
}

/* Moves all of from's nodes, in order, to the end of to. */
static inline void list_splice_back(struct list *to, struct list *from)
{
    if (!list_empty(from)) {
        from->next->prev = to->prev;
        to->prev->next = from->next;
        from->prev->next = to;
        to->prev = from->prev;
        list_init(from);
    }
}

#define LIST_ITEM(node, type, member) CONTAINER_OF(node, type, member)
#define LIST_FIRST(head, type, member) LIST_ITEM((head)->next, type, member)
#define LIST_LAST(head, type, member) LIST_ITEM((head)->prev, type, member)
/* NOLINTBEGIN(bugprone-macro-parentheses): node and tmp are declared here */
/* The body may remove the node it is at, and no other. */
#define LIST_FOR_EACH(node, tmp, head)                                                             \
    for (struct list *node = (head)->next, *tmp = node->next; node != (head);                      \
         node = tmp, tmp = node->next)
/* NOLINTEND(bugprone-macro-parentheses) */
