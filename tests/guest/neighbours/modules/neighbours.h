/* SPDX-License-Identifier: GPL-2.0 */
#ifndef NEIGHBOURS_H
#define NEIGHBOURS_H

/* What a function that is patched returns: the version that ran. */
enum version { ORIGINAL, NEW };

/* In a file without callers, so that no compiler knows what these return. */
int neighbours_function(void);
int neighbours_hold(void (*body)(void));
int neighbours_replacement(void);
int neighbours_place(unsigned long place);
int neighbours_bystander(unsigned long place, void (*body)(void));

int sleepy_init(void);
void sleepy_exit(void);

#endif
