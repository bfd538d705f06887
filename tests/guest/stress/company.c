// SPDX-License-Identifier: GPL-2.0
/* The processes in which other things come and go beside the patches. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "company.h"

static const struct part *const parts[PARTS] = {
	[CPUS_GO] = &cpus_part,
	[PROGRAMS_COME] = &programs_part,
	[VISITORS_COME] = &visitors_part,
};

/* Used until the processes exist. */
static struct company alone;
struct company *company = &alone;
const char *missing[PARTS];
bool in_company;

/* 0: the process has ended, or was never started. */
static pid_t processes[PARTS];

__attribute__((noreturn))
static void play_part(const struct part *part)
{
	in_company = true;
	part->begin();
	while (!company->over)
		part->round();
	part->end();
	fflush(stdout);
	_exit(0);
}

void start_company(void)
{
	pid_t self = getpid();
	unsigned int i;

	company = mmap(NULL, sizeof(*company), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (company == MAP_FAILED) {
		company = &alone;
		give_up("no memory to share");
	}
	for (i = 0; i < PARTS; i++) {
		missing[i] = parts[i]->lacks();
		if (missing[i]) {
			printf("# | no %s here: %s\n", parts[i]->name, missing[i]);
			continue;
		}
		/* Otherwise both processes would print what is buffered. */
		fflush(stdout);
		processes[i] = fork();
		if (processes[i] < 0)
			give_up("no process for %s", parts[i]->name);
		if (processes[i])
			continue;
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != self)
			_exit(1);
		/* Gives each process its own sequence. */
		seed += i + 1;
		play_part(parts[i]);
	}
	fflush(stdout);
}

void look_after_company(void)
{
	unsigned int i;
	int status;

	if (in_company)
		return;
	for (i = 0; i < PARTS; i++) {
		if (!processes[i] || waitpid(processes[i], &status, WNOHANG) != processes[i])
			continue;
		processes[i] = 0;
		if (!company->over || status)
			give_up("%s: the process has ended with %#x", parts[i]->name, status);
	}
}

bool company_has_done_all(void)
{
	unsigned int i;

	for (i = 0; i < PROGRAM_KINDS && !missing[PROGRAMS_COME]; i++)
		if (!company->programs[i])
			return false;
	return (missing[CPUS_GO] || company->cpus_off) &&
	       (missing[VISITORS_COME] || (company->came_amid && company->went_amid));
}

static bool is_one_left(void)
{
	unsigned int i;

	look_after_company();
	for (i = 0; i < PARTS; i++)
		if (processes[i])
			return true;
	return false;
}

void stop_company(void)
{
	double start = seconds();

	company->over = true;
	while (is_one_left()) {
		if (seconds() - start > 2 * PATIENCE)
			give_up("what came and went beside the patches does not end");
		nap(10);
		progress();
	}
}
