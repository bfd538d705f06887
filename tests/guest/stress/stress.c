// SPDX-License-Identifier: GPL-2.0
/*
 * stress MINUTES [SEED]: live patches that come, turn round in the middle, settle, are stacked, replaced,
 * disabled, forced and unloaded, in random order, while every CPU calls what they patch, and the function
 * tracers and a kprobe come and go at the same place. It tells stress_target which version may run, see
 * judge.c, and leaves what that counted for the script that started it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "stress.h"

/* --- whether it would notice ------------------------------------------------------------------------ */

/* On every CPU, in time: an emulated one may not run for a while. */
static void expect(const char *kind, unsigned int context, const char *when)
{
	unsigned int cpu, of = name_in(kinds, KINDS, kind);
	double start = seconds();

	for (;; nap(100)) {
		take_count();
		for (cpu = 0; cpu < count.cpus && count.wrong[cpu][context][of]; cpu++)
			;
		if (cpu == count.cpus)
			return;
		if (seconds() - start > PATIENCE)
			give_up("%s: no %s result in context %s on CPU %u", when, kind, contexts[context], cpu);
	}
}

static void expect_calls(unsigned int context, const char *when)
{
	double start = seconds();
	unsigned int cpu;

	for (;; nap(100)) {
		take_count();
		for (cpu = 0; cpu < count.cpus && count.calls[cpu][context]; cpu++)
			;
		if (cpu == count.cpus)
			return;
		if (seconds() - start > PATIENCE)
			give_up("%s: no calls in context %s on CPU %u", when, contexts[context], cpu);
	}
}

/* Enables and disables a patch that something is wrong with, of which the latter may be the wrong. */
static void notice(const char *parameters, const char *kind, unsigned int from, unsigned int end, const char *when)
{
	bool late = !*parameters;
	unsigned int context;

	printf("# now: %s\n", when);
	fflush(stdout);
	/* Disabling it comes unannounced. */
	phase(BIT(0) | BIT(1), 1, false);
	load(1, parameters);
	wait_settled(1, nap);
	forget();
	for (context = from; context < end; context++)
		expect_calls(context, when);
	for (context = from; context < end && !late; context++)
		expect(kind, context, when);
	must_put(attribute(1, "enabled"), "0");
	wait_settled(1, nap);
	for (context = from; context < end && late; context++)
		expect(kind, context, when);
	unload(1);
	settled_phase();
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
	notice("half=1", "mixed", 0, CONTEXTS, "a patch of half the functions");
	notice("spoil=8", "garbled", 0, CONTEXTS, "a patch that loses a bit");
	/* A program may have ended meanwhile, and timers interrupt anyone: only kthreads are sure to see it. */
	notice("", "backwards", THREAD, THREAD + 1, "a patch that is taken back unannounced");
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
	play(minutes);
	play_force();
	tell();
	return 0;
}
