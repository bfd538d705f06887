/* SPDX-License-Identifier: GPL-2.0 */
/* What the parts of the program share. */
#ifndef STRESS_PROGRAM_H
#define STRESS_PROGRAM_H

#include <stdbool.h>
#include <stdint.h>

#define PARAMETERS	"/sys/module/stress_target/parameters"
#define PATCHES		5
/* Programs that sleep in what is patched. */
#define HOLDERS		2
/* For a transition, in seconds. The core looks once in each. */
#define PATIENCE	60
/* What the modules call VERSIONS: as a direction, none. */
#define NOWHERE		8
#define BIT(n)		(1U << (n))

/* --- helpers ---------------------------------------------------------------------------------------- */

__attribute__((noreturn, format(printf, 1, 2)))
void give_up(const char *format, ...);
/* In memory that lasts for a few more calls. */
__attribute__((format(printf, 1, 2)))
const char *text(const char *format, ...);

/* These two return an error number. */
int put_with(const char *path, int flags, const char *what);
int put(const char *path, const char *what);
void must_put(const char *path, const char *what);
/* The number in a file, or -1. */
int number(const char *path);

extern uint64_t seed;
/* Less than "end". */
unsigned int any(unsigned int end);
double seconds(void);
void nap(unsigned int ms);

/* --- the count -------------------------------------------------------------------------------------- */

#define CPUS 64
#define CONTEXTS 4
#define THREAD 1
#define KINDS 4
extern const char *const contexts[CONTEXTS], *const kinds[KINDS];

/*
 * What stress_target has counted. The least of all CPUs is as if each had been on all the time: what one
 * that was off for a while called meanwhile is taken from what it called when it was on.
 */
extern struct count {
	unsigned int cpus;
	unsigned long long calls[CPUS][CONTEXTS], wrong[CPUS][CONTEXTS][KINDS], versions[CPUS][NOWHERE];
	unsigned long long all_calls, all_wrong, least;
} count;

/* What has been done besides. */
extern struct done {
	unsigned long transitions, reversals, replacements, stacked, forced, tracers, kprobes, rests, again;
	bool noticed;
} done;

unsigned int name_in(const char *const *names, unsigned int end, const char *name);
void take_count(void);
void forget(void);
/* A line now and then. */
void progress(void);
/* All of it, and a file for the shell. */
void tell(void);

/* --- around the patches ----------------------------------------------------------------------------- */

void start_callers(void);
void start_neighbours(void);
void set_tracer(const char *name);
void set_kprobe(bool on);
/* Time passes, and neighbours come and go. */
void pass(unsigned int ms);

/* --- patches ---------------------------------------------------------------------------------------- */

/* Which versions may run from now on, and where tasks move to. */
void phase(unsigned int allowed, int towards, bool force);
void settled_phase(void);
const char *attribute(int version, const char *name);
bool in_transition(int version);
void load(int version, const char *parameters);
void unload(int version);
/* While time passes. */
void wait_settled(int version, void (*time)(unsigned int ms));
void play(double minutes);
void play_force(void);

#endif
