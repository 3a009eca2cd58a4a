// SPDX-License-Identifier: MIT
#pragma once

/*
 * Host names that are not ASCII (IDNA2008, RFC 5891), for telling a user what
 * to write instead. Nothing is ever matched or dialled by it.
 */

#include <stdbool.h>

#include "base/attr.h"
#include "base/str.h"
#include "base/text.h"

#define IDN_TEXT_MAX 512 /* bytes that the form with xn-- takes at most, a leading dot included */

/* Writes the form with xn-- of a name or pattern (leading dot and '*' stay). False when name is
 * ASCII already or has no such form. */
MUST_USE bool idn_to_ascii(struct str name, struct text *out);
const char *idn_library_version(void);
