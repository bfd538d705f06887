// SPDX-License-Identifier: GPL-2.0
/* Events around the patches: programs that call, and others that change the same functions. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "company.h"
#include "stress.h"

#define TRACING "/sys/kernel/tracing"

/* --- the callers ------------------------------------------------------------------------------------ */

static void child_of(pid_t parent)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(1);
}

static void read_once(int file)
{
	char byte;

	if (read(file, &byte, 1) < 0)
		_exit(1);
}

/*
 * Runs one child after the other on a CPU. A child inherits its parent's state, and is moved on its way
 * out of the kernel.
 */
static void call_on(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	seed += cpu + 1;
	for (;;) {
		int rounds = 1 + any(300);
		pid_t self = getpid(), child = fork();
		int file;

		/*
		 * Repeated each time: when the CPU goes offline, the affinity is lost, and setting it fails
		 * meanwhile.
		 */
		sched_setaffinity(0, sizeof(set), &set);
		if (child > 0) {
			waitpid(child, NULL, 0);
			continue;
		}
		child_of(self);
		file = open("/proc/stress/calls", O_RDONLY);
		while (rounds--)
			read_once(file);
		_exit(0);
	}
}

static void hold(void)
{
	int file = open("/proc/stress/hold", O_RDONLY);

	for (;;) {
		read_once(file);
		nap(20);
	}
}

void start_callers(void)
{
	pid_t self = getpid();
	int cpu, i;

	for (cpu = 0; cpu < sysconf(_SC_NPROCESSORS_ONLN); cpu++)
		if (!fork()) {
			child_of(self);
			call_on(cpu);
		}
	for (i = 0; i < HOLDERS; i++)
		if (!fork()) {
			child_of(self);
			hold();
		}
}

/* --- neighbours ------------------------------------------------------------------------------------- */

void set_tracer(const char *name)
{
	if (!put(TRACING "/current_tracer", name) && strcmp(name, "nop"))
		done.tracers++;
}

void set_kprobe(bool on)
{
	static bool is;

	if (on == is)
		return;
	if (on && !put_with(TRACING "/kprobe_events", O_APPEND, "p:stress/f stress_f")) {
		if (!put(TRACING "/events/stress/f/enable", "1"))
			done.kprobes++;
	} else if (!on) {
		put(TRACING "/events/stress/f/enable", "0");
		put_with(TRACING "/kprobe_events", O_APPEND, "-:stress/f");
	} else {
		return;
	}
	is = on;
}

/* Changes something else at the patched functions, or in their callers. */
static void neighbour(void)
{
	static const char *const names[] = { "function", "function_graph", "nop" };

	switch (any(3)) {
	case 0:
		set_tracer(names[any(3)]);
		break;
	case 1:
		set_kprobe(any(2));
		break;
	default:
		if (any(4)) {
			must_put(PARAMETERS "/rest", "0");
		} else {
			must_put(PARAMETERS "/rest", "1");
			done.rests++;
		}
	}
}

void start_neighbours(void)
{
	put(TRACING "/buffer_size_kb", "64");
	must_put(TRACING "/set_ftrace_filter", "stress_f stress_g");
}

void pass(unsigned int ms)
{
	unsigned int step;

	for (; ms; ms -= step) {
		step = ms < 50 ? ms : 50;
		nap(step);
		if (!any(8))
			neighbour();
	}
	look_after_company();
	progress();
}
