// SPDX-License-Identifier: GPL-2.0
/*
 * Memory runs out at each place in turn. The number of allocations of a command differs between the cores.
 * So the comparison covers what must hold on any core: a command that failed has changed nothing, a
 * command that succeeded despite a failed allocation can be undone, and a command without failed
 * allocations succeeds.
 *
 * The kernel lets a task make its N-th allocation from now on fail.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "player.h"

#define FAILSLAB "/sys/kernel/debug/failslab/"

/* More than any command makes. */
#define ALLOCATIONS 5000
#define UNDOS 8

static int nth = -1;
static long armed;
/* Whether the allocation that was to fail was reached. */
static bool failed;

static void set_nth(long n)
{
	char text[32];

	snprintf(text, sizeof(text), "%ld", n);
	if (pwrite(nth, text, strlen(text), 0) < 0)
		perror("x fail-nth");
}

void starve_begin(void)
{
	if (armed)
		set_nth(armed);
}

void starve_end(void)
{
	char text[32] = "";

	if (!armed)
		return;
	/* The file holds the rest of the count, or 0 if it was used up. */
	if (pread(nth, text, sizeof(text) - 1, 0) < 0)
		perror("x fail-nth");
	failed = atol(text) == 0;
	set_nth(0);
	/* Only one system call is meant, not the following ones. */
	armed = 0;
}

static bool prepare(void)
{
	static const char *const knobs[] = {
		/* Allocations that may wait fail too, and no failure prints a stack to the log. */
		"ignore-gfp-wait", "verbose",
	};
	size_t i;

	if (nth >= 0)
		return true;
	for (i = 0; i < sizeof(knobs) / sizeof(*knobs); i++) {
		char path[64];

		snprintf(path, sizeof(path), FAILSLAB "%s", knobs[i]);
		if (put(path, "0"))
			return false;
	}
	nth = open("/proc/self/fail-nth", O_RDWR | O_CLOEXEC);
	return nth >= 0;
}

static int run_copy(const char *command)
{
	char copy[512];

	snprintf(copy, sizeof(copy), "%s", command);
	return run(copy);
}

/* Whether everything is as it was before. */
static bool unchanged(const struct lines *before, const char *command, long n, int error)
{
	struct lines now = { 0 };
	bool same;
	size_t i;

	look(&now);
	same = now.count == before->count;
	for (i = 0; same && i < now.count; i++)
		same = !strcmp(now.text[i], before->text[i]);
	if (!same) {
		printf("x %s, allocation %ld failing, returned %d and changed this:\n",
		       command, n, error);
		lines_tell_changes(before, &now);
	}
	lines_free(&now);
	return same;
}

void starve(char *commands)
{
	char *parts[UNDOS + 1], *rest = commands, *bar;
	struct lines before = { 0 };
	int i, count = 0, error, failures = 0, survived = 0;
	bool sound = true;
	long n, every = 1;

	/* A very slow kernel may skip some allocations. */
	if (!strncmp(rest, "every=", 6)) {
		every = strtol(rest + 6, &rest, 10);
		rest += strspn(rest, " ");
	}
	while (rest && count < UNDOS + 1) {
		parts[count++] = rest;
		bar = strstr(rest, " | ");
		if (bar)
			*bar = '\0';
		rest = bar ? bar + 3 : NULL;
	}
	if (!prepare()) {
		printf("x this kernel cannot make allocations fail\n");
		return;
	}
	look(&before);
	for (n = 1; n < ALLOCATIONS && sound; n += every) {
		failed = false;
		armed = n;
		error = run_copy(parts[0]);
		armed = 0;
		if (!failed)
			break;
		tell_log(true);
		/* Shows that the player is still alive. */
		if (n / every % 20 == 0)
			printf("# starving, allocation %ld\n", n);
		if (error) {
			failures++;
			sound = settle() && unchanged(&before, parts[0], n, error);
			continue;
		}
		survived++;
		sound = settle();
		for (i = 1; i < count && sound; i++) {
			error = run_copy(parts[i]);
			if (error)
				printf("x %s, after %s had allocation %ld failing: error %d\n",
				       parts[i], parts[0], n, error);
			sound = !error && settle();
		}
		sound = sound && unchanged(&before, parts[0], n, 0);
	}
	lines_free(&before);
	/* xtask does not compare these numbers. */
	printf("# starved: %d failures, %d survived\n", failures, survived);
	if (!failures)
		printf("x no failing allocation made %s fail\n", parts[0]);
	if (sound)
		printf("r %s without failing allocations: error %d\n", parts[0], error);
}
