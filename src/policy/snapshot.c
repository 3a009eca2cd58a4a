// SPDX-License-Identifier: MIT
#include "policy/snapshot.h"

#include <errno.h>

#include "base/mem.h"
#include "conf/conf.h"
#include "policy/auth_users.h"
#include "policy/hits.h"
#include "policy/policy.h"

static int load_users(struct snapshot *snapshot, struct conf_messages *messages)
{
    const char *path = snapshot->conf->auth.users_path;
    int error;

    if (!path) {
        return 0;
    }
    error = auth_users_load(path, conf_origin_of(snapshot->conf, "auth", "users"), messages,
                            &snapshot->users);
    return error < 0 ? error : 0; /* whatever is wrong in it stands in messages */
}

static int load(struct snapshot *snapshot, const struct conf_load_options *options,
                const struct snapshot *previous, struct conf_messages *messages)
{
    int error = conf_read(options, &snapshot->conf, messages);

    if (!error) {
        error = policy_new(snapshot->conf, previous ? previous->policy : NULL, messages,
                           &snapshot->policy);
    }
    if (!error) {
        error = load_users(snapshot, messages);
    }
    if (!error && messages->error_count > 0) {
        error = 1;
    }
    return error;
}

int snapshot_load(const struct conf_load_options *options, const struct snapshot *previous,
                  struct snapshot **ret, struct conf_messages *messages)
{
    struct snapshot *snapshot = mem_zalloc(sizeof(*snapshot));
    int error;

    if (!snapshot) {
        return -ENOMEM;
    }
    ref_init(&snapshot->ref);
    snapshot->generation = previous ? previous->generation + 1 : 1;
    error = load(snapshot, options, previous, messages);
    conf_messages_sort(messages);
    if (error) {
        snapshot_unref(snapshot);
        return error;
    }
    *ret = snapshot;
    return 0;
}

int snapshot_settle(struct snapshot *snapshot, const char *via_name, struct addr *own,
                    size_t own_count, const struct snapshot *previous, size_t workers)
{
    char *name = mem_strdup(via_name);

    mem_free(snapshot->own_addresses);
    snapshot->own_addresses = own;
    snapshot->own_address_count = own_count;
    mem_free((char *)(uintptr_t)snapshot->via_name.ptr);
    snapshot->via_name = name ? str_of(name) : (struct str){0};
    return name ? hits_new(snapshot->policy, previous ? previous->hits : NULL, workers,
                           &snapshot->hits)
                : -ENOMEM;
}

struct snapshot *snapshot_ref(struct snapshot *snapshot)
{
    ref_take(&snapshot->ref);
    return snapshot;
}

void snapshot_unref(struct snapshot *snapshot)
{
    if (!snapshot || !ref_drop(&snapshot->ref)) {
        return;
    }
    mem_free((char *)(uintptr_t)snapshot->via_name.ptr);
    mem_free(snapshot->own_addresses);
    hits_free(snapshot->hits);
    auth_users_unref(snapshot->users);
    policy_free(snapshot->policy);
    conf_free(snapshot->conf);
    mem_free(snapshot);
}
