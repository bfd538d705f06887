/* SPDX-License-Identifier: GPL-2.0 */
/* What the parts of the player share. */
#ifndef PARITY_PLAYER_H
#define PARITY_PLAYER_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#define KLP "/sys/kernel/livepatch"

/* A list of lines that grows. */
struct lines {
	char **text;
	size_t count;
};

__attribute__((format(printf, 2, 3)))
void line_add(struct lines *lines, const char *format, ...);
void lines_sort(struct lines *lines);
/* Prints what is in only one of two sorted lists: "- " if in the first, "+ " if in the second. */
void lines_tell_changes(const struct lines *before, const struct lines *now);
void lines_free(struct lines *lines);

/* Every line of a text, without its end; takes the text apart. */
#define for_each_line(line, text, rest)							\
	for (rest = (text); (line = strsep(&rest, "\n")) && (*line || rest);)

/* Those that can fail return an error number, 0 for success. */
int slurp(const char *path, char *text, size_t size);
int put(const char *path, const char *text);
int run(char *command);
void nap(long ms);
/* Milliseconds since some moment. */
long now(void);
bool settle(void);

const char *error_name(int error);
bool is_module(const char *name);

/* All that can be seen of the core, and which version of each function runs. */
void look(struct lines *lines);
void tell_state(void);
void tell_answers(void);
/* New lines of the kernel log; with "quiet", complaints only. */
bool log_open(void);
void tell_log(bool quiet);
/* Running out of memory makes parts of the kernel show a stack, which is no complaint then. */
extern bool stacks_are_fine;

/* Runs "COMMAND | UNDO | ..." again and again, each time with a later allocation failing. */
void starve(char *commands);
/* Around each system call of a command: only allocations in between fail. */
void starve_begin(void);
void starve_end(void);

#endif
