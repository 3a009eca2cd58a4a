// SPDX-License-Identifier: MIT
#pragma once

/*
 * Pieces of JSON for answers and commands: strings that may hold anything,
 * and members of an object with what separates each from the one before. What
 * cannot be written shows in ferror(3).
 */

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/str.h"

/* With its quotes; a byte that is no UTF-8 as \u00 and its two digits. */
void json_put_string(FILE *out, struct str s);
/* SEPARATOR"name":value; an empty value is null. */
void json_put_member(FILE *out, const char *separator, const char *name, struct str value);
void json_put_number(FILE *out, const char *separator, const char *name, uint64_t value);
void json_put_bool(FILE *out, const char *separator, const char *name, bool value);
