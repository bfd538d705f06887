/* SPDX-License-Identifier: GPL-2.0 */
/* Things that come and go beside the patches, each in a process of its own. */
#ifndef STRESS_COMPANY_H
#define STRESS_COMPANY_H

#include <stdbool.h>

#include "stress.h"

enum { CPUS_GO, PROGRAMS_COME, VISITORS_COME, PARTS };

struct part {
	const char *name;
	/* Returns why the part is not possible here, or NULL if it is. */
	const char *(*lacks)(void);
	/* Called once; then in rounds until the end; then once more, to restore everything. */
	void (*begin)(void);
	void (*round)(void);
	void (*end)(void);
};

extern const struct part cpus_part, programs_part, visitors_part;

enum { FENTRY, FEXIT, FMOD_RET, PROGRAM_KINDS };

/* In memory that all processes share. */
extern struct company {
	bool over;
	/*
	 * The number of times that a CPU went offline, and the seconds that each was not online all the time.
	 */
	unsigned long cpus_off;
	double off[CPUS];
	/*
	 * The number of times that a program came, and the number of calls that these programs have counted.
	 */
	unsigned long programs[PROGRAM_KINDS];
	unsigned long long counted[PROGRAM_KINDS];
	/*
	 * The number of times that a module came, came in a transition, and went in one, and of its patched
	 * calls.
	 */
	unsigned long visits, came_amid, went_amid;
	unsigned long long visitor_calls;
} *company;

/* The reason why a part is missing, or NULL. */
extern const char *missing[PARTS];

void start_company(void);
/* Gives up if a process has ended unexpectedly. */
void look_after_company(void);
/* Whether everything that can happen has happened. */
bool company_has_done_all(void);
/* Waits until everything is as it was. */
void stop_company(void);
/* Set in one of the processes: give_up() ends only that one, and look_after_company() notices. */
extern bool in_company;

/* --- the module that comes and goes -------------------------------------------------------------- */

void let_visitor_in(void);
void let_visitor_out(void);

#endif
