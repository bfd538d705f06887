// SPDX-License-Identifier: GPL-2.0
/*
 * A BPF program on functions of modules, or of the kernel ("vmlinux"), which counts calls:
 *
 *	bpf fentry|fexit|fmod_ret REQUESTS REPLIES MODULE FUNCTION [MODULE FUNCTION]...
 *
 * A program of the kind "fmod_ret" does not count. It reads from user space, at the address in the first
 * argument of the function, and may sleep there. Then the function is called.
 *
 * REQUESTS and REPLIES are fifos. The first reply is empty once the program is attached; otherwise it is
 * the error. The reply to "count" is the number of calls so far. Any other request detaches the program,
 * and the reply is empty.
 */
#include <stdarg.h>
#include <stdbool.h>

#include "../shared/bpf.h"

/* The number of functions that one program can be attached to. */
#define MAX_FUNCTIONS 8

static const char *replies;

static void reply(const char *format, ...)
{
	FILE *file = fopen(replies, "w");
	va_list args;

	if (!file)
		exit(1);
	va_start(args, format);
	vfprintf(file, format, args);
	va_end(args);
	fclose(file);
}

/* Returns the result of a step. Replies with the error and exits if the step failed. */
static int must(int result)
{
	if (result < 0) {
		reply("%s: %s\n", bpf_failed, strerror(errno));
		exit(1);
	}
	return result;
}

static uint64_t count(int counter)
{
	uint64_t value = 0;

	must(bpf_count(counter, &value));
	return value;
}

/* Whether the next request is "count". */
static bool is_to_count(const char *requests)
{
	char text[16] = "";
	FILE *file = fopen(requests, "r");

	if (!file)
		exit(1);
	fgets(text, sizeof(text), file);
	fclose(file);
	return !strcmp(text, "count\n");
}

static int attach(const char *kind, const char *module, const char *function, int counter)
{
	struct bpf_place place;

	must(bpf_find(module, function, &place));
	if (!strcmp(kind, "fmod_ret"))
		return must(bpf_start(bpf_load_reading(&place)));
	return must(bpf_attach(strcmp(kind, "fexit") ? BPF_TRACE_FENTRY : BPF_TRACE_FEXIT, &place, counter));
}

int main(int argc, char **argv)
{
	int links[MAX_FUNCTIONS], count_links = 0, counter;

	if (argc < 6)
		return 1;
	replies = argv[3];
	counter = must(bpf_make_counter());
	for (int i = 4; i + 1 < argc && count_links < MAX_FUNCTIONS; i += 2)
		links[count_links++] = attach(argv[1], argv[i], argv[i + 1], counter);
	reply("");
	while (is_to_count(argv[2]))
		reply("%llu\n", (unsigned long long)count(counter));
	/* The programs are detached by the time the last link is closed. */
	while (count_links)
		close(links[--count_links]);
	reply("");
	return 0;
}
