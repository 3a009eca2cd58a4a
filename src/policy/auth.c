// SPDX-License-Identifier: MIT
#include "policy/auth.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/text.h"
#include "log/log.h"
#include "policy/auth_checks.h"
#include "policy/auth_failures.h"
#include "policy/auth_follow.h"
#include "policy/auth_pool.h"
#include "policy/auth_private.h"
#include "policy/auth_users.h"

#define STOP_MS 1000 /* for a check or a reading under way when the program ends */

/* ------------------------------------------------------------------ wrong passwords */

static bool may_try(void *arg, const struct addr *client)
{
    struct auth *auth = arg;

    return auth_failures_wait_ms(auth->failures, client, clock_mono_ms()) == 0;
}

/* The line that a filter for log files reads: who tried, and as whom. */
void auth_count_wrong(struct auth *auth, const struct addr *client, struct str name, bool is_known)
{
    uint64_t wait_ms = auth_failures_add(auth->failures, client, clock_mono_ms());
    char client_buf[ADDR_TEXT_MAX];
    struct text client_text = TEXT_OVER(client_buf);
    const char *why = is_known ? "wrong password" : "no such user";
    struct log_field fields[] = {LOG_TEXT("client", STR("")), LOG_TEXT("user", name)};

    addr_put(&client_text, client);
    fields[0].text = text_str(&client_text);
    if (wait_ms > 0) {
        log_fields(LOG_WARNING, "auth", fields, ARRAY_LEN(fields),
                   "%s; too many from this client, which may try again in %llu s", why,
                   (unsigned long long)((wait_ms + 999) / 1000));
    } else {
        log_fields(LOG_WARNING, "auth", fields, ARRAY_LEN(fields), "%s", why);
    }
}

static void on_wrong(void *arg, const struct addr *client, struct str name, bool is_known)
{
    auth_count_wrong(arg, client, name, is_known);
}

static void on_failed(void *arg, int error)
{
    (void)arg;
    log_event(LOG_ERROR, "auth", "a password cannot be checked (errno %d)", -error);
}

static const struct auth_checks_events checks_events = {
    .may_try = may_try,
    .wrong = on_wrong,
    .failed = on_failed,
};

/* ------------------------------------------------------------------ what all share */

static void on_renew(void *arg, const struct auth_users *users)
{
    const struct auth *auth = arg;

    auth_checks_renew(auth->checks, users, atomic_load(&auth->cache_ms));
}

/* Those who check passwords give way to all others. The users file is what all who show credentials
 * wait for, once it has changed: it is read by a thread like any other, and behind no password. */
static int make_pools(struct auth *auth, unsigned threads)
{
    int r = auth_pool_new("viaduct-auth", THREAD_ASIDE, threads, &auth->hashers);

    return r == 0 ? auth_pool_new("viaduct-users", THREAD_USUAL, 1, &auth->readers) : r;
}

int auth_new(const struct auth_options *options, struct auth_users *users, struct auth **ret)
{
    struct auth *auth = mem_zalloc(sizeof(*auth));
    int r;

    if (!auth) {
        return -ENOMEM;
    }
    auth->wait_ms = options->wait_ms;
    auth->failures = auth_failures_new();
    r = auth->failures ? auth_printer_init(&auth->printer) : -ENOMEM;
    if (r == 0) {
        r = make_pools(auth, options->threads);
    }
    if (r == 0) {
        r = auth_checks_new(auth->hashers, &checks_events, auth, &auth->checks);
    }
    if (r == 0) {
        r = auth_follow_new(auth->readers, on_renew, auth, &auth->follow);
    }
    if (r != 0) {
        auth_free(auth);
        return r;
    }
    auth_renew(auth, options, users);
    *ret = auth;
    return 0;
}

void auth_renew(struct auth *auth, const struct auth_options *options, struct auth_users *users)
{
    bool is_other = atomic_exchange(&auth->cache_ms, options->cache_ms) != options->cache_ms;

    auth_follow_set(auth->follow, users, is_other);
    auth_failures_set(auth->failures, options->failures, options->failures_ms);
}

void auth_stop(struct auth *auth)
{
    auth_checks_stop(auth->checks);
    auth_follow_stop(auth->follow);
    auth->is_abandoned = !auth_pool_stop(auth->hashers, STOP_MS);
    auth->is_abandoned = !auth_pool_stop(auth->readers, STOP_MS) || auth->is_abandoned;
}

void auth_free(struct auth *auth)
{
    if (!auth || auth->is_abandoned) {
        return;
    }
    auth_follow_free(auth->follow);
    auth_checks_free(auth->checks);
    auth_pool_free(auth->readers);
    auth_pool_free(auth->hashers);
    auth_failures_free(auth->failures);
    auth_printer_deinit(&auth->printer);
    mem_free(auth);
}
