// SPDX-License-Identifier: MIT

/* /status: what is in use of each limit, all of it from atomics and from what the main thread has
 * shown. */

#include <unistd.h>

#include "base/attr.h"
#include "base/clock.h"
#include "base/text.h"
#include "conf/conf.h"
#include "log/writer.h"
#include "policy/snapshot.h"
#include "proxy/tally.h"
#include "server/admin_private.h"
#include "server/json.h"
#include "server/reload_progress.h"
#include "server/worker.h"

struct status {
    uint64_t pid, uptime_s, generation, workers;
    struct str source;
    uint64_t connections, connections_max, tunnels, requests;
    uint64_t buffers, buffers_max, descriptors, descriptors_max, dropped;
    bool draining;
    struct reload_sight reload;
};

static uint64_t at_least_0(int64_t number)
{
    return number > 0 ? (uint64_t)number : 0;
}

static void read_status(struct admin_request *request, struct status *ret)
{
    const struct workshop *shop = request->admin->shop;
    const struct snapshot *snapshot = request->view->snapshot;
    const char *source = snapshot->conf->source;

    *ret = (struct status){
        .pid = (uint64_t)getpid(),
        .uptime_s = (clock_mono_ms() - request->admin->start_ms) / 1000,
        .generation = snapshot->generation,
        .workers = shop->worker_count,
        .source = source ? str_of(source) : STR("built-in"),
        .connections = at_least_0(atomic_load(&shop->clients)),
        .connections_max = at_least_0(atomic_load(&shop->max_clients)),
        .buffers = at_least_0(atomic_load(&shop->buffers.used_bytes)),
        .buffers_max = at_least_0(atomic_load(&shop->buffers.max_bytes)),
        .descriptors = at_least_0(atomic_load(&shop->fds.used)),
        .descriptors_max = at_least_0(shop->fds.max),
        .dropped = log_writer_dropped(shop->writer),
        .draining = atomic_load(&request->admin->draining),
    };
    reload_progress_see(request->admin->progress, &ret->reload);
    for (size_t i = 0; i < shop->worker_count; i++) {
        const struct tally *tally = worker_tally(shop->workers[i]);

        ret->tunnels += tally_get(&tally->tunnels);
        ret->requests += tally_get(&tally->requests);
    }
}

/* ------------------------------------------------------------------ JSON */

static void put_use(FILE *out, const char *name, uint64_t used, uint64_t max)
{
    (void)fprintf(out, ",\"%s\":{", name);
    json_put_number(out, "", "used", used);
    json_put_number(out, ",", "max", max);
    (void)fputc('}', out);
}

static void put_listeners(FILE *out, const struct admin_view *view)
{
    (void)fputs(",\"listeners\":[", out);
    for (size_t i = 0; i < view->listener_count; i++) {
        json_put_member(out, i > 0 ? ",{" : "{", "name", str_of(view->listeners[i].name));
        json_put_member(out, ",", "address", str_of(view->listeners[i].address));
        (void)fputc('}', out);
    }
    (void)fputc(']', out);
}

static void put_json(FILE *out, const struct status *status, const struct admin_view *view)
{
    json_put_member(out, "{", "version", STR(VIADUCT_VERSION));
    json_put_member(out, ",", "state", status->draining ? STR("draining") : STR("ok"));
    json_put_number(out, ",", "pid", status->pid);
    json_put_number(out, ",", "uptime_s", status->uptime_s);
    json_put_number(out, ",", "generation", status->generation);
    json_put_member(out, ",", "configuration", status->source);
    (void)fputs(",\"reload\":", out);
    admin_put_progress_json(out, &status->reload);
    json_put_number(out, ",", "workers", status->workers);
    put_use(out, "connections", status->connections, status->connections_max);
    json_put_number(out, ",", "tunnels", status->tunnels);
    json_put_number(out, ",", "requests", status->requests);
    put_use(out, "buffer_bytes", status->buffers, status->buffers_max);
    put_use(out, "descriptors", status->descriptors, status->descriptors_max);
    json_put_number(out, ",", "log_lines_dropped", status->dropped);
    put_listeners(out, view);
    (void)fputs("}\n", out);
}

/* ------------------------------------------------------------------ for people */

static void put_row(FILE *out, const char *name, uint64_t value)
{
    (void)fprintf(out, "%-18s%llu\n", name, (unsigned long long)value);
}

static void put_use_row(FILE *out, const char *name, uint64_t used, uint64_t max)
{
    (void)fprintf(out, "%-18s%llu of %llu\n", name, (unsigned long long)used,
                  (unsigned long long)max);
}

static void put_uptime(FILE *out, uint64_t seconds)
{
    (void)fprintf(out, "%-18s%llud %02llu:%02llu:%02llu\n", "uptime",
                  (unsigned long long)(seconds / 86400), (unsigned long long)(seconds / 3600 % 24),
                  (unsigned long long)(seconds / 60 % 60), (unsigned long long)(seconds % 60));
}

static void put_text(FILE *out, const struct status *status, const struct admin_view *view)
{
    (void)fprintf(out, "%-18s%s, %s\n", "viaduct", VIADUCT_VERSION,
                  status->draining ? "draining" : "serving");
    put_row(out, "pid", status->pid);
    put_uptime(out, status->uptime_s);
    (void)fprintf(out, "%-18s%.*s, generation %llu\n", "configuration", STR_ARG(status->source),
                  (unsigned long long)status->generation);
    if (status->reload.step != RELOAD_NOT_UNDER_WAY) {
        (void)fprintf(out, "%-18s", "reload");
        admin_put_progress(out, &status->reload);
        (void)fputc('\n', out);
    }
    put_row(out, "workers", status->workers);
    put_use_row(out, "connections", status->connections, status->connections_max);
    put_row(out, "tunnels", status->tunnels);
    put_row(out, "requests", status->requests);
    put_use_row(out, "buffer bytes", status->buffers, status->buffers_max);
    put_use_row(out, "descriptors", status->descriptors, status->descriptors_max);
    put_row(out, "log lines dropped", status->dropped);
    for (size_t i = 0; i < view->listener_count; i++) {
        (void)fprintf(out, "%-18s%s (%s)\n", i == 0 ? "listening" : "", view->listeners[i].address,
                      view->listeners[i].name);
    }
}

void admin_route_status(struct admin_request *request)
{
    struct status status;

    read_status(request, &status);
    if (request->wants_text) {
        put_text(request->out, &status, request->view);
    } else {
        put_json(request->out, &status, request->view);
    }
    admin_answer(request, 200);
}
