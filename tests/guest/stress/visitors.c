// SPDX-License-Identifier: GPL-2.0
/* A module that the patches change too comes and goes, whatever they do meanwhile. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "company.h"

#define NAME "stress_visitor"

static const char *lacks_nothing(void)
{
	return NULL;
}

/* Whether tasks are moving now, for any of the patches. */
static bool amid_transition(void)
{
	int version;

	for (version = 1; version <= PATCHES; version++)
		if (in_transition(version))
			return true;
	return false;
}

void let_visitor_in(void)
{
	int file = open("/stress/" NAME ".ko", O_RDONLY | O_CLOEXEC);

	if (syscall(SYS_finit_module, file, "", 0))
		give_up("loading " NAME ": %s", strerror(errno));
	close(file);
	company->visits++;
}

void let_visitor_out(void)
{
	double start = seconds();
	int calls = number("/sys/module/" NAME "/parameters/calls");

	if (calls <= 0)
		give_up("nobody has called what is patched in " NAME);
	company->visitor_calls += calls;
	while (syscall(SYS_delete_module, NAME, O_NONBLOCK)) {
		if (errno != EAGAIN || seconds() - start > PATIENCE)
			give_up("unloading " NAME ": %s", strerror(errno));
		nap(10);
	}
}

static void begin(void)
{
}

static void one_round(void)
{
	bool amid = amid_transition();

	let_visitor_in();
	if (amid && amid_transition())
		company->came_amid++;
	nap(any(2) ? any(50) : any(1000));
	amid = amid_transition();
	let_visitor_out();
	if (amid && amid_transition())
		company->went_amid++;
	nap(any(2) ? any(20) : any(500));
}

static void end(void)
{
}

const struct part visitors_part = {
	.name = "module that comes and goes",
	.lacks = lacks_nothing,
	.begin = begin,
	.round = one_round,
	.end = end,
};
