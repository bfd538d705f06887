/* SPDX-License-Identifier: GPL-2.0 */
/* Shared by the parts of the program. */
#ifndef STRESS_PROGRAM_H
#define STRESS_PROGRAM_H

#include <stdbool.h>
#include <stdint.h>

#define PARAMETERS	"/sys/module/stress_target/parameters"
#define PATCHES		5
/* The number of programs that sleep in a patched function. */
#define HOLDERS		2
/* The time limit for a transition in seconds. The core makes one attempt in each second. */
#define PATIENCE	60
/* The modules' VERSIONS. As a direction it means none. */
#define NOWHERE		8
#define BIT(n)		(1U << (n))

/* --- helpers ---------------------------------------------------------------------------------------- */

__attribute__((noreturn, format(printf, 1, 2)))
void give_up(const char *format, ...);
/* Returns text that stays valid for a few more calls. */
__attribute__((format(printf, 1, 2)))
const char *text(const char *format, ...);

/* These two return an error number. */
int put_with(const char *path, int flags, const char *what);
int put(const char *path, const char *what);
void must_put(const char *path, const char *what);
/* Returns the number in a file, or -1. */
int number(const char *path);

extern uint64_t seed;
/* Returns a random number below "end". */
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
 * The counts of stress_target. "least" is the lowest number of calls of any CPU, as if each CPU had been
 * online all the time. For a CPU that was offline for a while, the missing calls are estimated from its
 * calls while it was online.
 */
extern struct count {
	unsigned int cpus;
	unsigned long long calls[CPUS][CONTEXTS], wrong[CPUS][CONTEXTS][KINDS], versions[CPUS][NOWHERE];
	unsigned long long all_calls, all_wrong, least;
} count;

/* Other actions so far. Deadlines are those that have turned a transition round. */
extern struct done {
	unsigned long transitions, reversals, deadlines, replacements, stacked, forced, tracers, kprobes, rests, again;
	bool noticed;
} done;

unsigned int name_in(const char *const *names, unsigned int end, const char *name);
void take_count(void);
void forget(void);
/* Prints a line now and then. */
void progress(void);
/* Prints everything, and writes a file for the shell. */
void tell(void);

/* --- around the patches ----------------------------------------------------------------------------- */

void start_callers(void);
void start_neighbours(void);
void set_tracer(const char *name);
void set_kprobe(bool on);
/* Lets time pass while neighbours come and go. */
void pass(unsigned int ms);

/* --- patches ---------------------------------------------------------------------------------------- */

/* Announces the versions that may run from now on, and the one that tasks move to. */
void phase(unsigned int allowed, int towards, bool force);
void settled_phase(void);
const char *attribute(int version, const char *name);
bool in_transition(int version);
void load(int version, const char *parameters);
void unload(int version);
/* Calls "time" while it waits. */
void wait_settled(int version, void (*time)(unsigned int ms));
void play(double minutes);
void play_force(void);

#endif
