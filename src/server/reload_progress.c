// SPDX-License-Identifier: MIT
#include "server/reload_progress.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"

void reload_progress_init(struct reload_progress *progress)
{
    *progress = (struct reload_progress){.step = RELOAD_NOT_UNDER_WAY};
    (void)pthread_mutex_init(&progress->lock, NULL);
}

void reload_progress_deinit(struct reload_progress *progress)
{
    (void)pthread_mutex_destroy(&progress->lock);
}

void reload_progress_step(struct reload_progress *progress, enum reload_step step)
{
    (void)pthread_mutex_lock(&progress->lock);
    if (progress->step == RELOAD_NOT_UNDER_WAY) {
        progress->begin_ms = clock_mono_ms();
    }
    progress->step = step;
    progress->file[0] = '\0';
    (void)pthread_mutex_unlock(&progress->lock);
}

void reload_progress_file(struct reload_progress *progress, const char *path)
{
    (void)pthread_mutex_lock(&progress->lock);
    (void)snprintf(progress->file, sizeof(progress->file), "%s", path);
    (void)pthread_mutex_unlock(&progress->lock);
}

void reload_progress_see(struct reload_progress *progress, struct reload_sight *ret)
{
    *ret = (struct reload_sight){.step = RELOAD_NOT_UNDER_WAY};
    (void)pthread_mutex_lock(&progress->lock);
    if (progress->step != RELOAD_NOT_UNDER_WAY) {
        ret->step = progress->step;
        ret->seconds = (clock_mono_ms() - progress->begin_ms) / 1000;
        memcpy(ret->file, progress->file, sizeof(ret->file));
    }
    (void)pthread_mutex_unlock(&progress->lock);
}
