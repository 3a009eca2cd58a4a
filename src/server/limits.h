// SPDX-License-Identifier: MIT
#pragma once

/*
 * What the machine lets this process have: descriptors, processors, memory.
 * Read once at start; "auto" values of the configuration come from here.
 */

#include <stdint.h>

/* Raises the soft descriptor limit to the hard one; returns what holds now. */
uint64_t limits_raise_descriptors(void);
/* Processors this process may run on; at least 1. */
unsigned limits_cpus(void);
/* Memory this process may use in bytes: the machine's, or its control group's when that is less. */
uint64_t limits_memory(void);
