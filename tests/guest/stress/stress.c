// SPDX-License-Identifier: GPL-2.0
/*
 * stress MINUTES [SEED]: live patches are loaded, reversed in mid-transition, settled, stacked, replaced,
 * disabled, forced and unloaded, in random order. Meanwhile every CPU calls the patched functions, and
 * other things come and go: the function tracers, a kprobe and BPF programs at the same functions, a
 * module that the patches change too, and the CPUs themselves. The program tells stress_target which
 * version may run, see judge.c. It leaves the counts of stress_target for the script that started it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "company.h"
#include "stress.h"

/* --- whether the test notices faults ---------------------------------------------------------------- */

/*
 * Waits until "number" is nonzero on every CPU. There is a time limit, since an emulated CPU may not run
 * for a while.
 */
static bool on_every_cpu(unsigned long long (*number)(unsigned int cpu, unsigned int context, unsigned int kind),
			 unsigned int context, unsigned int kind, double patience)
{
	double start = seconds();
	unsigned int cpu;

	for (;; nap(100)) {
		take_count();
		for (cpu = 0; cpu < count.cpus && number(cpu, context, kind); cpu++)
			;
		if (cpu == count.cpus)
			return true;
		if (seconds() - start > patience)
			return false;
	}
}

static unsigned long long wrong(unsigned int cpu, unsigned int context, unsigned int kind)
{
	return count.wrong[cpu][context][kind];
}

/*
 * Returns the wrong results in this context and in those that interrupt it. A fault that shows only once
 * shows in the context that calls first.
 */
static unsigned long long wrong_or_interrupted(unsigned int cpu, unsigned int context, unsigned int kind)
{
	unsigned long long sum = 0;

	for (; context < CONTEXTS; context++)
		sum += count.wrong[cpu][context][kind];
	return sum;
}

static unsigned long long calls(unsigned int cpu, unsigned int context, unsigned int kind)
{
	(void)kind;
	return count.calls[cpu][context];
}

static void expect(const char *kind, unsigned int context, const char *when)
{
	if (!on_every_cpu(wrong, context, name_in(kinds, KINDS, kind), PATIENCE))
		give_up("%s: no %s result in context %s on each CPU", when, kind, contexts[context]);
}

/* Enables a faulty patch. It is later disabled without an announcement. */
static void try_patch(const char *parameters, const char *when)
{
	unsigned int context;

	phase(BIT(0) | BIT(1), 1, false);
	load(1, parameters);
	wait_settled(1, nap);
	forget();
	nap(100);
	for (context = 0; context < CONTEXTS; context++)
		if (!on_every_cpu(calls, context, 0, PATIENCE))
			give_up("%s: no calls in context %s on each CPU", when, contexts[context]);
}

static void take_back(void)
{
	must_put(attribute(1, "enabled"), "0");
	wait_settled(1, nap);
}

static void put_away(void)
{
	unload(1);
	settled_phase();
}

static void notice(const char *parameters, const char *kind, const char *when)
{
	unsigned int context;

	printf("# now: %s\n", when);
	fflush(stdout);
	try_patch(parameters, when);
	for (context = 0; context < CONTEXTS; context++)
		expect(kind, context, when);
	take_back();
	put_away();
}

/* The fault shows once in each task that lives to see both versions, as the kthreads do. */
static void notice_turn(const char *when)
{
	unsigned int kind = name_in(kinds, KINDS, "backwards");

	printf("# now: %s\n", when);
	fflush(stdout);
	try_patch("", when);
	take_back();
	if (!on_every_cpu(wrong_or_interrupted, THREAD, kind, PATIENCE))
		give_up("%s: no backwards result in the kthread of each CPU", when);
	put_away();
}

/* Such a patch makes only the visitor's calls wrong, in any context. */
static void notice_visitor(const char *when)
{
	unsigned int kind = name_in(kinds, KINDS, "mixed"), cpu, context;
	unsigned long long sum = 0;
	double start = seconds();

	printf("# now: %s\n", when);
	fflush(stdout);
	try_patch("apart=1", when);
	take_count();
	if (count.all_wrong)
		give_up("%s: wrong results before that is there", when);
	let_visitor_in();
	for (; !sum; nap(100)) {
		take_count();
		for (cpu = 0; cpu < count.cpus; cpu++)
			for (context = 0; context < CONTEXTS; context++)
				sum += wrong(cpu, context, kind);
		if (seconds() - start > PATIENCE)
			give_up("%s: no mixed result", when);
	}
	let_visitor_out();
	take_back();
	put_away();
}

static void notice_all(void)
{
	unsigned int context;

	forget();
	settled_phase();
	nap(500);
	take_count();
	if (count.all_wrong)
		give_up("wrong results before there was a patch");
	phase(BIT(7), NOWHERE, false);
	for (context = 0; context < CONTEXTS; context++)
		expect("forbidden", context, "the original, which is not allowed");
	notice("half=1", "mixed", "a patch of half the functions");
	notice("spoil=8", "garbled", "a patch that loses a bit");
	notice_turn("a patch that is taken back unannounced");
	notice_visitor("a patch that leaves out the module that comes and goes");
	nap(100);
	forget();
	done.noticed = true;
}

/* --- the whole -------------------------------------------------------------------------------------- */

int main(int argc, char **argv)
{
	double minutes = argc > 1 ? atof(argv[1]) : 1;

	seed = argc > 2 ? strtoull(argv[2], NULL, 0) : (uint64_t)time(NULL) * 1000003 + getpid();
	if (!seed)
		seed = 1;
	printf("# | %g minutes, seed %llu\n", minutes, (unsigned long long)seed);
	fflush(stdout);
	start_callers();
	notice_all();
	start_neighbours();
	start_company();
	play(minutes);
	play_force();
	stop_company();
	tell();
	return 0;
}
