/* SPDX-License-Identifier: GPL-2.0 */
#ifndef NEIGHBOURS_H
#define NEIGHBOURS_H

/* A patched function returns the version that ran. */
enum version { ORIGINAL, NEW };

/* Defined in a file without callers, so that the compiler cannot know their results. */
int neighbours_function(void);
int neighbours_hold(void (*body)(void));
int neighbours_replacement(void);
int neighbours_place(unsigned long place);
int neighbours_bystander(unsigned long place, void (*body)(void));

int sleepy_init(void);
void sleepy_exit(void);

#endif
