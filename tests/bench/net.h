/* SPDX-License-Identifier: MIT */
/*
 * What origin.c, relay.c and load.c share: listening on the loopback interface
 * only, whichever of its addresses is dialled, and ending with a message.
 */
#pragma once

#include <stdint.h>
#include <time.h>

/* Ends the program with status 1, errno's text behind WHAT. */
_Noreturn void die(const char *what);

/*
 * A listening, non-blocking socket on PORT (0: the system chooses; *PORT then
 * says which) of every address of the loopback interface, and of no other.
 */
int listen_loopback(uint16_t *port);

/* Nanoseconds since some fixed point. */
uint64_t now_ns(void);

/* Whole numbers from the command line; anything else ends the program. */
uint64_t number(const char *text);
