// SPDX-License-Identifier: MIT
#pragma once

/*
 * How far the reload is that is under way, for whoever wants to know
 * meanwhile: told by the threads that do it, read by any.
 */

#include <pthread.h>
#include <stdint.h>

enum reload_step {
    RELOAD_NOT_UNDER_WAY,
    RELOAD_READS,   /* files, and compiles what is in them */
    RELOAD_CHANGES, /* threads get ready for what was read, and change over to it */
};

#define RELOAD_FILE_MAX 512

/* What is seen of it. */
struct reload_sight {
    enum reload_step step;
    uint64_t seconds;           /* since it began; 0 when none is under way */
    char file[RELOAD_FILE_MAX]; /* RELOAD_READS: begun last, cut if it must be; empty: none yet */
};

/* Private. */
struct reload_progress {
    pthread_mutex_t lock;
    enum reload_step step; /* under lock, as all below */
    uint64_t begin_ms;     /* monotonic */
    char file[RELOAD_FILE_MAX];
};

void reload_progress_init(struct reload_progress *progress);
void reload_progress_deinit(struct reload_progress *progress);
/* All from any thread. */
void reload_progress_step(struct reload_progress *progress, enum reload_step step);
void reload_progress_file(struct reload_progress *progress, const char *path);
void reload_progress_see(struct reload_progress *progress, struct reload_sight *ret);
