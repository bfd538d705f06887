// SPDX-License-Identifier: GPL-2.0
/* BPF programs that count calls of the patched functions come and go. Several may be at the same function. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "../shared/bpf.h"
#include "company.h"

static const enum bpf_attach_type types[PROGRAM_KINDS] = {
	[FENTRY] = BPF_TRACE_FENTRY,
	[FEXIT] = BPF_TRACE_FEXIT,
	[FMOD_RET] = BPF_MODIFY_RETURN,
};

/* Tasks sleep in the last one. Programs may not modify it. */
static const char *const functions[] = { "stress_f", "stress_g", "stress_hold" };
#define PLACES (sizeof(functions) / sizeof(functions[0]))
#define UNMODIFIABLE 2

static struct bpf_place places[PLACES];
static int counters[PROGRAM_KINDS];
/* A file for each program; 0: there is none of that kind. */
static int links[PLACES][PROGRAM_KINDS];

static const char *lacks_types(void)
{
	return access("/sys/kernel/btf/vmlinux", R_OK) ? "no type information of the kernel" : NULL;
}

static int must(int result, const char *name)
{
	if (result < 0)
		give_up("BPF program, %s: %s: %s", name, bpf_failed, strerror(errno));
	return result;
}

static void begin(void)
{
	unsigned int i;

	for (i = 0; i < PLACES; i++)
		must(bpf_find("stress_target", functions[i], &places[i]), functions[i]);
	for (i = 0; i < PROGRAM_KINDS; i++)
		counters[i] = must(bpf_make_counter(), "counter");
}

static void leave(unsigned int place, unsigned int kind)
{
	if (links[place][kind])
		close(links[place][kind]);
	links[place][kind] = 0;
}

static void one_round(void)
{
	unsigned int place = any(PLACES), kind = any(PROGRAM_KINDS);

	if (links[place][kind]) {
		leave(place, kind);
	} else if (kind != FMOD_RET || place != UNMODIFIABLE) {
		links[place][kind] = must(bpf_attach(types[kind], &places[place], counters[kind]),
					  functions[place]);
		company->programs[kind]++;
	}
	nap(any(2) ? any(20) : any(500));
	/* A single program, and none at all, are cases too. */
	if (!any(8))
		for (place = 0; place < PLACES; place++)
			for (kind = 0; kind < PROGRAM_KINDS; kind++)
				leave(place, kind);
}

static void end(void)
{
	unsigned int place, kind;

	for (place = 0; place < PLACES; place++)
		for (kind = 0; kind < PROGRAM_KINDS; kind++)
			leave(place, kind);
	for (kind = 0; kind < PROGRAM_KINDS; kind++) {
		uint64_t value = 0;

		must(bpf_count(counters[kind], &value), "count");
		company->counted[kind] = value;
	}
}

const struct part programs_part = {
	.name = "BPF programs",
	.lacks = lacks_types,
	.begin = begin,
	.round = one_round,
	.end = end,
};
