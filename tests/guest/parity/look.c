// SPDX-License-Identifier: GPL-2.0
/*
 * Everything about the livepatch core that is visible from outside: the sysfs tree, the modules that it
 * holds, the kernel log, and the version of a function that runs.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "player.h"

static int kmsg;
bool stacks_are_fine;

/* --- small things ------------------------------------------------------------------------------ */

void nap(long ms)
{
	struct timespec time = { ms / 1000, ms % 1000 * 1000000 };

	nanosleep(&time, NULL);
}

long now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * 1000 + time.tv_nsec / 1000000;
}

const char *error_name(int error)
{
	return error ? strerrorname_np(error) ?: "E?" : "0";
}

int slurp(const char *path, char *text, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t length = 0;
	ssize_t got = 0;

	text[0] = '\0';
	if (fd < 0)
		return errno;
	while (length < size - 1 && (got = read(fd, text + length, size - 1 - length)) > 0)
		length += got;
	text[length] = '\0';
	close(fd);
	return got < 0 ? errno : 0;
}

bool is_module(const char *name)
{
	return !strncmp(name, "parity_", 7) || !strncmp(name, "klp_", 4);
}

/* --- what can be seen -------------------------------------------------------------------------- */

static int by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

static void walk(struct lines *lines, const char *root, const char *below)
{
	char path[1024], value[256];
	struct dirent **entries;
	int i, count;

	snprintf(path, sizeof(path), "%s%s", root, below);
	count = scandir(path, &entries, NULL, by_name);
	for (i = 0; i < count; i++) {
		const char *name = entries[i]->d_name;
		struct stat stat;

		snprintf(path, sizeof(path), "%s%s/%s", root, below, name);
		/* The C core has neither gears nor deadlines. */
		if (!strcmp(name, ".") || !strcmp(name, "..") || !strcmp(name, "gear") ||
		    !strcmp(name, "deadline") || lstat(path, &stat)) {
			free(entries[i]);
			continue;
		}
		if (S_ISDIR(stat.st_mode)) {
			line_add(lines, "%04o %s/", stat.st_mode & 07777, path + strlen(root) + 1);
			walk(lines, root, path + strlen(root));
		} else if (stat.st_mode & 0444) {
			int error = slurp(path, value, sizeof(value));

			value[strcspn(value, "\n")] = '\0';
			line_add(lines, "%04o %s = %s", stat.st_mode & 07777,
				 path + strlen(root) + 1, error ? error_name(error) : value);
		} else {
			line_add(lines, "%04o %s", stat.st_mode & 07777, path + strlen(root) + 1);
		}
		free(entries[i]);
	}
	if (count >= 0)
		free(entries);
}

/* Lists our modules with their reference counts, which show the references that the core takes and drops. */
static void list_modules(struct lines *lines)
{
	char text[4096], *line, *rest, name[64];
	long refs;

	slurp("/proc/modules", text, sizeof(text));
	for_each_line(line, text, rest)
		if (sscanf(line, "%63s %*d %ld", name, &refs) == 2 && is_module(name))
			line_add(lines, "module %s, %ld references", name, refs);
}

/* Asks the functions of one module, or of the kernel, for their version. */
static void ask(struct lines *lines, const char *name)
{
	char path[64], text[1024], *line, *rest;
	int error;

	snprintf(path, sizeof(path), "/proc/%s", name);
	error = slurp(path, text, sizeof(text));
	if (error == ENOENT)
		return;
	if (error)
		line_add(lines, "o %s: %s", name, error_name(error));
	for_each_line(line, text, rest)
		/* The kernel's own answer differs with each boot. */
		line_add(lines, "o %s: %s", name, strstr(line, "guest=") ? "original" : line);
}

static void ask_all(struct lines *lines)
{
	ask(lines, "parity_target");
	ask(lines, "parity_other");
	ask(lines, "cmdline");
}

void look(struct lines *lines)
{
	walk(lines, KLP, "");
	list_modules(lines);
	ask_all(lines);
	lines_sort(lines);
}

void tell_state(void)
{
	static struct lines before;
	struct lines now = { 0 };

	walk(&now, KLP, "");
	list_modules(&now);
	lines_sort(&now);
	lines_tell_changes(&before, &now);
	printf("n %zu\n", now.count);
	lines_free(&before);
	before = now;
}

static bool complains(const char *text)
{
	static const char *const words[] = {
		"WARNING: ", "BUG: ", "Oops", "INFO: rcu", "INFO: task",
		"INFO: possible", "UBSAN", "KASAN", "refcount_t:", "general protection",
		"unreferenced object",
	};
	size_t i;

	for (i = 0; i < sizeof(words) / sizeof(*words); i++)
		if (strstr(text, words[i]))
			return true;
	return !stacks_are_fine && strstr(text, "Call Trace");
}

bool log_open(void)
{
	kmsg = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	return kmsg >= 0 && lseek(kmsg, 0, SEEK_END) >= 0;
}

/* Prints the new lines of the kernel log. With "quiet", only complaints are printed. */
void tell_log(bool quiet)
{
	char record[8192], *text;
	ssize_t size;

	while ((size = read(kmsg, record, sizeof(record) - 1)) > 0 || errno == EPIPE) {
		if (size < 0) {
			printf("x lines of the kernel log are lost\n");
			errno = 0;
			continue;
		}
		record[size] = '\0';
		/* A record has level, number and time, then the text, then lines of key=value pairs. */
		text = strchr(record, ';');
		if (!text)
			continue;
		text++;
		text[strcspn(text, "\n")] = '\0';
		if (complains(text))
			printf("c %s\n", text);
		else if (!quiet && (!strncmp(text, "livepatch: ", 11) || is_module(text)))
			printf("l <%d> %s\n", atoi(record) & 7, text);
	}
}

void tell_answers(void)
{
	struct lines lines = { 0 };
	size_t i;

	ask_all(&lines);
	for (i = 0; i < lines.count; i++)
		printf("%s\n", lines.text[i]);
	lines_free(&lines);
}
