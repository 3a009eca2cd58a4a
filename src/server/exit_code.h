// SPDX-License-Identifier: MIT
#pragma once

/*
 * What a command ends with.
 */

enum exit_code {
    EXIT_OK = 0,
    EXIT_FAILED = 1,
    EXIT_USAGE = 2,
    EXIT_UNDECIDED = 3, /* of explain */
    EXIT_CONF = 78,     /* EX_CONFIG of sysexits.h: the service manager does not start it again */
};
