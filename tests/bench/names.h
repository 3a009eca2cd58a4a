/* SPDX-License-Identifier: MIT */
/*
 * A name server small enough to cost less than those who ask it: every name
 * below bench.test stands for a loopback address, for an hour, and has no other
 * records. `oN.` and anything behind it is the Nth address of next_target() in
 * load.c; all else is 127.0.0.1.
 */
#pragma once

#include <stdint.h>

/* A socket on a port of 127.0.0.1 that the system chooses; *RET_PORT says which. Ends the program
 * when there is none. */
int names_open(uint16_t *ret_port);

/* Answers all that waits on FD. What is no query stays without an answer. */
void names_answer(int fd);
