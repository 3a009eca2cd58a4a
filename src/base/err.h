// SPDX-License-Identifier: MIT
#pragma once

/*
 * Assertions that stay in release builds. They guard programmer errors and
 * state moves, never input: whatever a peer sends must be answered, not
 * asserted. A failed assertion says where on stderr and aborts.
 */

#include "base/attr.h"

NORETURN void err_assert_failed(const char *expr, const char *file, int line);

#define ASSERT(expr) (LIKELY(expr) ? (void)0 : err_assert_failed(#expr, __FILE__, __LINE__))
