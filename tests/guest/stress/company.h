/* SPDX-License-Identifier: GPL-2.0 */
/* What comes and goes beside the patches, each in a process of its own. */
#ifndef STRESS_COMPANY_H
#define STRESS_COMPANY_H

#include <stdbool.h>

#include "stress.h"

enum { CPUS_GO, PROGRAMS_COME, VISITORS_COME, PARTS };

struct part {
	const char *name;
	/* Why there can be none of it here; NULL: it can be. */
	const char *(*lacks)(void);
	/* Once; then in rounds until the end; then once more, to leave everything as it was. */
	void (*begin)(void);
	void (*round)(void);
	void (*end)(void);
};

extern const struct part cpus_part, programs_part, visitors_part;

enum { FENTRY, FEXIT, FMOD_RET, PROGRAM_KINDS };

/* In memory that all processes share. */
extern struct company {
	bool over;
	/* How often a CPU went off, and for how many seconds each was not on all the time. */
	unsigned long cpus_off;
	double off[CPUS];
	/* How often a program came, and how many calls those have counted. */
	unsigned long programs[PROGRAM_KINDS];
	unsigned long long counted[PROGRAM_KINDS];
	/* How often a module came, came in a transition, and went in one; calls of what is patched in it. */
	unsigned long visits, came_amid, went_amid;
	unsigned long long visitor_calls;
} *company;

/* Why a part is missing; NULL: it is not. */
extern const char *missing[PARTS];

void start_company(void);
/* Complains if a process has ended that should not. */
void look_after_company(void);
/* Whether all that can happen has. */
bool company_has_done_all(void);
/* Waits until everything is as it was. */
void stop_company(void);
/* In one of the processes: give_up() ends that alone, and look_after_company() notices. */
extern bool in_company;

/* --- the module that comes and goes -------------------------------------------------------------- */

void let_visitor_in(void);
void let_visitor_out(void);

#endif
