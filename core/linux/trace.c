// SPDX-License-Identifier: GPL-2.0
/* The tracepoints livepatch:*, which Rust calls. */

#include <linux/sched.h>

#include "livepatch.h"

#define CREATE_TRACE_POINTS
#define CREATE_RUST_TRACE_POINTS
#include "trace.h"
