// SPDX-License-Identifier: MIT

/* Who the client is, once a walk over the rules asks for it. */

#include "io/io.h"
#include "policy/auth.h"
#include "proxy/exchange_private.h"

/* The client's own words; two fields of them are no credentials, for who knows which of them the
 * next reader takes. */
static struct str credentials_of(const struct exchange *x)
{
    const struct field_list *fields = &x->request.fields;

    return field_count(fields, FIELD_PROXY_AUTHORIZATION) == 1
               ? field_value(fields, FIELD_PROXY_AUTHORIZATION)
               : STR("");
}

/* The walk is gone again, now that the user is known. */
static void go_on(struct exchange *x)
{
    if (x->state == EXCHANGE_ADMIT) {
        exchange_admit(x);
    } else {
        exchange_judge_again(x);
    }
}

static void take_user(struct exchange *x, struct str user)
{
    x->user = arena_copy(&x->arena, user);
    if (!x->user.ptr) {
        x->user = (struct str){0};
        exchange_reply(x, REPLY_NO_MEMORY, NULL);
        return;
    }
    x->verdict = (struct policy_verdict){0};
    go_on(x);
}

static void take_answer(struct exchange *x, const struct auth_answer *answer)
{
    switch (answer->outcome) {
    case AUTH_VALID:
        take_user(x, answer->user);
        break;
    case AUTH_NONE:
        exchange_reply_challenge(x, NULL);
        break;
    case AUTH_WRONG:
        exchange_reply_challenge(x, "the user name or the password is wrong");
        break;
    case AUTH_BUSY:
        exchange_reply_later(x, REPLY_AUTH_BUSY, 0);
        break;
    case AUTH_FAILED:
        exchange_reply(x, REPLY_NO_MEMORY, NULL);
        break;
    case AUTH_TOO_MANY:
        exchange_reply_later(x, REPLY_AUTH_FAILURES, answer->retry_after_ms);
        break;
    case AUTH_PENDING:
        break;
    }
}

static void on_checked(void *arg, const struct auth_answer *answer)
{
    struct exchange *x = arg;

    x->auth_query = NULL;
    take_answer(x, answer);
    io_flush(x->proxy->io);
}

static const struct auth_events auth_events = {.checked = on_checked};

void exchange_challenge(struct exchange *x, const struct policy_verdict *verdict)
{
    struct auth_answer answer;

    x->verdict = *verdict;
    auth_ask(x->proxy->auth, &x->client, credentials_of(x), &auth_events, x, &answer,
             &x->auth_query);
    take_answer(x, &answer);
}
