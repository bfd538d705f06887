// SPDX-License-Identifier: GPL-2.0
/*
 * Plays a scenario: it runs commands against the livepatch core, one by one, and after each one it prints
 * everything about the core that is visible from outside. A single process does it all. So thousands of
 * steps take only minutes on an emulated machine, and each step is one system call with a known error
 * number.
 *
 * Commands, one a line. "- " in front of a command means not to wait afterwards until the core is at rest:
 *
 *	scenario NAME		start afresh, after everything that is left has been undone
 *	load FILE [PARAM...]	load FILE.ko, with a single call
 *	unload MODULE		unload a module, without waiting until it is unused
 *	write PATH TEXT		write to a file below /sys/kernel/livepatch
 *	param MODULE NAME TEXT	set a module's parameter
 *	hold MODULE [PATCH]	start a task that stays inside a function of a module, or inside the
 *				version of it in a patch
 *	release MODULE|PATCH	release the tasks that stay in there, and print what they read
 *	sleep SECONDS		wait
 *	pinned MODULE		from now on, do not wait because this module stays referenced
 *	dyndbg TEXT		switch debug messages
 *	cpu N 0|1		take a CPU offline, or bring it back
 *	stacks fine|wrong	whether a stack in the log is a complaint: sysfs prints one for a
 *				duplicate name
 *	starve [every=N] COMMAND | UNDO..
 *				run a command with one allocation after another failing; see starve.c
 *
 * Output, a letter and the text. xtask compares all of it between the cores:
 *
 *	r  the result of the command		l  a line of the kernel log
 *	o  the answer of a patched function	t  patch_state of a task that is held
 *	+ - lines of the sysfs tree and of the list of modules that came and went
 *	n  the number of such lines now
 *	c  a complaint of the kernel		x  something that must not happen on either core
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "player.h"

/* The time limit for the core to come to rest, and for a task to reach the place where it is held. */
#define PATIENCE_MS	45000
/* The time limit for a transition that nothing keeps open. */
#define TURN_MS		2500
#define POLL_MS		5

static char pinned[256];

/* --- tasks that are held ----------------------------------------------------------------------- */

static struct held {
	/* The module or patch that the task stays in, and the module whose file it reads. */
	char module[64];
	char source[64];
	pid_t pid;
	int from;
} held[4];

static void tell_held(void)
{
	char path[64], text[32];
	size_t i;

	for (i = 0; i < 4; i++) {
		if (!held[i].pid)
			continue;
		snprintf(path, sizeof(path), "/proc/%d/patch_state", held[i].pid);
		slurp(path, text, sizeof(text));
		printf("t task in %s: patch_state %s", held[i].module, text);
	}
	if (!slurp("/proc/self/patch_state", text, sizeof(text)))
		printf("t this task: patch_state %s", text);
}

static int param(const char *module, const char *name, const char *value)
{
	char path[256];

	snprintf(path, sizeof(path), "/sys/module/%s/parameters/%s", module, name);
	return put(path, value);
}

static bool is_held(const char *module)
{
	int i;

	for (i = 0; i < 4; i++)
		if (held[i].pid && !strcmp(held[i].source, module))
			return true;
	return false;
}

static void held_task(const char *module, int to)
{
	char path[128], text[256];
	int error;

	snprintf(path, sizeof(path), "/proc/%s_hold", module);
	error = slurp(path, text, sizeof(text));
	if (error)
		snprintf(text, sizeof(text), "%s\n", error_name(error));
	if (write(to, text, strlen(text)) < 0)
		_exit(1);
	_exit(0);
}

static int hold(const char *source, const char *module)
{
	char path[128], text[32];
	long deadline = now() + PATIENCE_MS;
	struct held *task = held;
	int ends[2];

	snprintf(path, sizeof(path), "/proc/%s_hold", source);
	if (access(path, F_OK))
		return errno;
	while (task < held + 4 && task->pid)
		task++;
	if (task == held + 4 || pipe2(ends, O_CLOEXEC))
		return EAGAIN;
	param(module, "release", "0");
	task->pid = fork();
	if (!task->pid)
		held_task(source, ends[1]);
	close(ends[1]);
	task->from = ends[0];
	snprintf(task->module, sizeof(task->module), "%s", module);
	snprintf(task->source, sizeof(task->source), "%s", source);
	snprintf(path, sizeof(path), "/sys/module/%s/parameters/held", module);
	while (now() < deadline) {
		struct pollfd answer = { .fd = ends[0], .events = POLLIN };

		slurp(path, text, sizeof(text));
		if (atoi(text) > 0)
			return 0;
		/* The read has returned, so nothing holds the task. */
		if (poll(&answer, 1, POLL_MS) > 0)
			return EALREADY;
	}
	/* The task stays in the source module and can be released there. */
	snprintf(task->module, sizeof(task->module), "%s", source);
	return ETIMEDOUT;
}

static int release(const char *module, bool quiet)
{
	char text[256], *line, *rest;
	ssize_t size;
	int i, error;

	error = param(module, "release", "1");
	for (i = 0; i < 4; i++) {
		if (!held[i].pid || strcmp(held[i].module, module))
			continue;
		size = read(held[i].from, text, sizeof(text) - 1);
		text[size > 0 ? size : 0] = '\0';
		for_each_line(line, text, rest)
			if (!quiet)
				printf("o %s_hold: %s\n", module, line);
		waitpid(held[i].pid, NULL, 0);
		close(held[i].from);
		held[i].pid = 0;
	}
	return error;
}

/* --- coming to rest ---------------------------------------------------------------------------- */

static bool in_sysfs(const char *name)
{
	char path[256];

	snprintf(path, sizeof(path), KLP "/%s", name);
	return !access(path, F_OK);
}

/* Whether no transition is going on, and everything disabled is gone with its module released. */
static bool at_rest(void)
{
	char text[4096], *line, *rest, path[512], name[64];
	struct dirent **entries;
	bool rest_found = true;
	int count, i;
	long refs;

	count = scandir(KLP, &entries, NULL, NULL);
	for (i = 0; i < count; i++) {
		if (entries[i]->d_name[0] != '.') {
			snprintf(path, sizeof(path), KLP "/%s/transition", entries[i]->d_name);
			rest_found &= !slurp(path, text, sizeof(text)) && text[0] == '0';
			snprintf(path, sizeof(path), KLP "/%s/enabled", entries[i]->d_name);
			rest_found &= !slurp(path, text, sizeof(text)) && text[0] == '1';
		}
		free(entries[i]);
	}
	if (count >= 0)
		free(entries);
	slurp("/proc/modules", text, sizeof(text));
	for_each_line(line, text, rest)
		if (sscanf(line, "%63s %*d %ld", name, &refs) == 2 && is_module(name) && refs &&
		    !in_sysfs(name) && !strstr(pinned, name) && !is_held(name))
			rest_found = false;
	return rest_found;
}

static bool comes_to_rest(long ms)
{
	long deadline = now() + ms;

	while (now() < deadline) {
		if (at_rest())
			return true;
		nap(POLL_MS);
	}
	return false;
}

bool settle(void)
{
	if (comes_to_rest(PATIENCE_MS))
		return true;
	printf("x the core does not come to rest\n");
	return false;
}

/* Undoes everything, since a scenario starts from nothing. */
static void tidy(void)
{
	char text[4096], *line, *rest, path[512], name[64];
	struct dirent **entries;
	int count, i, round;

	for (i = 0; i < 4; i++)
		if (held[i].pid)
			release(held[i].module, true);
	for (round = 0; round < 8; round++) {
		count = scandir(KLP, &entries, NULL, NULL);
		for (i = 0; i < count; i++) {
			snprintf(path, sizeof(path), KLP "/%s/enabled", entries[i]->d_name);
			if (entries[i]->d_name[0] != '.')
				put(path, "0");
			free(entries[i]);
		}
		if (count >= 0)
			free(entries);
		if (count <= 2)
			break;
		settle();
	}
	slurp("/proc/modules", text, sizeof(text));
	for_each_line(line, text, rest) {
		if (sscanf(line, "%63s", name) != 1 || !is_module(name) || strstr(pinned, name))
			continue;
		if (syscall(SYS_delete_module, name, O_NONBLOCK))
			printf("x %s cannot be unloaded: %s\n", name, error_name(errno));
	}
}

/* --- commands ---------------------------------------------------------------------------------- */

int put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	int error = 0;

	if (fd < 0)
		return errno;
	starve_begin();
	if (write(fd, text, strlen(text)) < 0)
		error = errno;
	starve_end();
	close(fd);
	return error;
}

static int unload(const char *module)
{
	int error;

	starve_begin();
	error = syscall(SYS_delete_module, module, O_NONBLOCK) ? errno : 0;
	starve_end();
	return error;
}

static int load(const char *file, const char *params)
{
	static const char *const dirs[] = { "/parity", "/modules" };
	char path[256];
	int i, fd = -1, error;

	for (i = 0; i < 2 && fd < 0; i++) {
		snprintf(path, sizeof(path), "%s/%s.ko", dirs[i], file);
		fd = open(path, O_RDONLY | O_CLOEXEC);
	}
	if (fd < 0) {
		printf("x there is no module %s\n", file);
		return ENOENT;
	}
	starve_begin();
	error = syscall(SYS_finit_module, fd, params, 0) ? errno : 0;
	starve_end();
	close(fd);
	return error;
}

int run(char *command)
{
	char *words[4] = { "", "", "", "" }, path[256], *rest = command;
	int i;

	for (i = 0; i < 3 && rest && *rest; i++)
		words[i] = strsep(&rest, " ");
	words[3] = rest ?: "";

	if (!strcmp(words[0], "load")) {
		char params[512];

		snprintf(params, sizeof(params), "%s %s", words[2], words[3]);
		return load(words[1], params);
	}
	if (!strcmp(words[0], "unload"))
		return unload(words[1]);
	if (!strcmp(words[0], "write")) {
		snprintf(path, sizeof(path), KLP "/%s", words[1]);
		return put(path, words[2]);
	}
	if (!strcmp(words[0], "param"))
		return param(words[1], words[2], words[3]);
	if (!strcmp(words[0], "hold"))
		return hold(words[1], *words[2] ? words[2] : words[1]);
	if (!strcmp(words[0], "release"))
		return release(words[1], false);
	if (!strcmp(words[0], "sleep")) {
		nap(atol(words[1]) * 1000);
		return 0;
	}
	if (!strcmp(words[0], "pinned")) {
		snprintf(pinned + strlen(pinned), sizeof(pinned) - strlen(pinned), "%s ", words[1]);
		return 0;
	}
	if (!strcmp(words[0], "cpu")) {
		snprintf(path, sizeof(path), "/sys/devices/system/cpu/cpu%s/online", words[1]);
		return put(path, words[2]);
	}
	if (!strcmp(words[0], "stacks")) {
		stacks_are_fine = !strcmp(words[1], "fine");
		return 0;
	}
	if (!strcmp(words[0], "dyndbg")) {
		snprintf(path, sizeof(path), "%s %s %s", words[1], words[2], words[3]);
		return put("/sys/kernel/debug/dynamic_debug/control", path);
	}
	printf("x unknown command %s\n", words[0]);
	return EINVAL;
}

static void step(char *line)
{
	bool wait = strncmp(line, "- ", 2);
	char *command = wait ? line : line + 2;
	/* Decided first, because run() takes the command apart. */
	bool turn = !wait && !strncmp(command, "write ", 6);
	int error;

	printf("# step %s\n", line);
	if (!strncmp(command, "starve ", 7)) {
		starve(command + 7);
		/* The order of these lines depends on the number of allocations. */
		settle();
		tell_log(true);
	} else {
		error = run(command);
		printf("r %s\n", error_name(error));
	}
	if (wait)
		settle();
	else if (turn)
		/* A reversal can leave no task in the way. The C core notices after 0.75 s to 1.75 s. */
		comes_to_rest(TURN_MS);
	tell_log(false);
	tell_state();
	tell_answers();
	tell_held();
	fflush(stdout);
}

static void play(FILE *script)
{
	static char line[1024];

	while (fgets(line, sizeof(line), script)) {
		line[strcspn(line, "\n")] = '\0';
		if (!line[0] || line[0] == '#')
			continue;
		if (strncmp(line, "scenario ", 9)) {
			step(line);
			continue;
		}
		tidy();
		tell_log(true);
		stacks_are_fine = false;
		printf("# %s\n", line);
		tell_state();
	}
	tidy();
	tell_log(true);
}

int main(int argc, char **argv)
{
	int i;

	if (!log_open()) {
		perror("/dev/kmsg");
		return 1;
	}
	for (i = 1; i < argc; i++) {
		FILE *script = fopen(argv[i], "re");

		if (!script) {
			perror(argv[i]);
			return 1;
		}
		play(script);
		fclose(script);
	}
	return 0;
}
