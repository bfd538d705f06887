/* SPDX-License-Identifier: GPL-2.0 */
/* Shared by the parts of the player. */
#ifndef PARITY_PLAYER_H
#define PARITY_PLAYER_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#define KLP "/sys/kernel/livepatch"

/* A list of lines that can grow. */
struct lines {
	char **text;
	size_t count;
};

__attribute__((format(printf, 2, 3)))
void line_add(struct lines *lines, const char *format, ...);
void lines_sort(struct lines *lines);
/* Prints the lines that are in only one of two sorted lists: "- " for the first, "+ " for the second. */
void lines_tell_changes(const struct lines *before, const struct lines *now);
void lines_free(struct lines *lines);

/* Iterates over the lines of a text, without their ends. It takes the text apart. */
#define for_each_line(line, text, rest)							\
	for (rest = (text); (line = strsep(&rest, "\n")) && (*line || rest);)

/* These return an error number, or 0 for success. */
int slurp(const char *path, char *text, size_t size);
int put(const char *path, const char *text);
int run(char *command);
void nap(long ms);
/* Returns milliseconds from an arbitrary start. */
long now(void);
bool settle(void);

const char *error_name(int error);
bool is_module(const char *name);

/* Collects everything that is visible of the core, and the version of each function that runs. */
void look(struct lines *lines);
void tell_state(void);
void tell_answers(void);
/* Opens the kernel log. tell_log() prints its new lines; with "quiet", only complaints. */
bool log_open(void);
void tell_log(bool quiet);
/* Whether a stack in the log is no complaint: parts of the kernel print one when memory runs out. */
extern bool stacks_are_fine;

/* Runs "COMMAND | UNDO | ..." repeatedly. Each time a later allocation fails. */
void starve(char *commands);
/* Enclose each system call of a command. Only allocations in between fail. */
void starve_begin(void);
void starve_end(void);

#endif
