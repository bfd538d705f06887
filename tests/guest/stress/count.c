// SPDX-License-Identifier: GPL-2.0
/* The counts of stress_target, and the actions in the meantime. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "company.h"
#include "stress.h"

#define FIGURES "/tmp/figures"

const char *const contexts[CONTEXTS] = { "user", "thread", "softirq", "interrupt" };
const char *const kinds[KINDS] = { "garbled", "mixed", "forbidden", "backwards" };

struct count count;
struct done done;

unsigned int name_in(const char *const *names, unsigned int end, const char *name)
{
	unsigned int i;

	for (i = 0; i < end; i++)
		if (!strcmp(names[i], name))
			break;
	return i;
}

/* The time at which the count began. */
static double begun;

/* Returns the calls that the CPU would have made if it had been online all the time. */
static unsigned long long if_always_on(unsigned long long calls, unsigned int cpu)
{
	double all = seconds() - begun, on = all - company->off[cpu];

	return on > 0 ? calls * (all / on) : 0;
}

void take_count(void)
{
	FILE *file = fopen("/proc/stress/report", "r");
	char what[16], of[16];
	unsigned long long n;
	unsigned int cpu, i;

	memset(&count, 0, sizeof(count));
	while (file && fscanf(file, "%u %15s %15s %llu", &cpu, what, of, &n) == 4) {
		if (cpu >= CPUS)
			give_up("CPU %u is one too many", cpu);
		if (cpu >= count.cpus)
			count.cpus = cpu + 1;
		i = name_in(contexts, CONTEXTS, of);
		if (!strcmp(what, "version")) {
			count.versions[cpu][atoi(of) % NOWHERE] = n;
		} else if (!strcmp(what, "calls")) {
			count.calls[cpu][i] = n;
			count.all_calls += n;
		} else {
			count.wrong[cpu][i][name_in(kinds, KINDS, what)] = n;
			count.all_wrong += n;
		}
	}
	if (!file || !count.cpus)
		give_up("no report");
	fclose(file);
	count.least = ~0ULL;
	for (cpu = 0; cpu < count.cpus; cpu++) {
		for (n = 0, i = 0; i < CONTEXTS; i++)
			n += count.calls[cpu][i];
		n = if_always_on(n, cpu);
		if (n < count.least)
			count.least = n;
	}
}

void forget(void)
{
	must_put(PARAMETERS "/forget", "1");
	begun = seconds();
}

/* Prints a line now and then. The first word tells who is to read it. */
void progress(void)
{
	static double last, last_for_people;
	double now = seconds();

	if (now - last < 10)
		return;
	take_count();
	printf("# %s%lu transitions, %lu reversals, %llu million calls, %llu wrong\n",
	       now - last_for_people < 60 ? "now: " : "| ", done.transitions, done.reversals,
	       count.all_calls / 1000000, count.all_wrong);
	fflush(stdout);
	last = now;
	if (now - last_for_people >= 60)
		last_for_people = now;
}

static const char *const program_kinds[PROGRAM_KINDS] = { "fentry", "fexit", "fmod_ret" };

static void tell_company(void)
{
	unsigned int cpu, i;

	printf("# | CPUs: %lu times off;", company->cpus_off);
	for (cpu = 0; cpu < count.cpus; cpu++)
		printf(" CPU %u for %.0f s", cpu, company->off[cpu]);
	printf("\n# | BPF programs:");
	for (i = 0; i < PROGRAM_KINDS; i++)
		printf(" %lu times %s, %llu calls counted;", company->programs[i], program_kinds[i],
		       company->counted[i]);
	printf(" %lu times a patch was to try again", done.again);
	printf("\n# | a module: %lu times, came %lu times in a transition, went %lu times in one, %llu calls\n",
	       company->visits, company->came_amid, company->went_amid, company->visitor_calls);
}

void tell(void)
{
	unsigned int cpu, i, version;
	FILE *file;

	take_count();
	for (cpu = 0; cpu < count.cpus; cpu++) {
		printf("# | CPU %u, calls:", cpu);
		for (i = 0; i < CONTEXTS; i++)
			printf(" %s %llu", contexts[i], count.calls[cpu][i]);
		printf("\n# | CPU %u, batches by version:", cpu);
		for (version = 0; version <= PATCHES; version++)
			printf(" %llu", count.versions[cpu][version]);
		printf("\n");
	}
	printf("# | %llu calls, %lu transitions (%lu turned round, %lu by a deadline, %lu stacked, %lu replaced all, %lu forced)\n",
	       count.all_calls, done.transitions, done.reversals, done.deadlines, done.stacked, done.replacements,
	       done.forced);
	printf("# | neighbours: %lu times a tracer, %lu a kprobe; %lu rests; wrong results: %llu\n",
	       done.tracers, done.kprobes, done.rests, count.all_wrong);
	tell_company();
	fflush(stdout);
	file = fopen(FIGURES, "w");
	if (!file)
		give_up("cannot write " FIGURES);
	fprintf(file, "calls=%llu least=%llu wrong=%llu\n", count.all_calls, count.least, count.all_wrong);
	fprintf(file, "transitions=%lu reversals=%lu deadlines=%lu stacked=%lu replacements=%lu forced=%lu noticed=%d\n",
		done.transitions, done.reversals, done.deadlines, done.stacked, done.replacements, done.forced, done.noticed);
	fprintf(file, "cpus_off=%lu visits=%lu came_amid=%lu went_amid=%lu visitor_calls=%llu\n",
		company->cpus_off, company->visits, company->came_amid, company->went_amid,
		company->visitor_calls);
	for (i = 0; i < PROGRAM_KINDS; i++)
		fprintf(file, "%s=%lu %s_counted=%llu\n", program_kinds[i], company->programs[i],
			program_kinds[i], company->counted[i]);
	fprintf(file, "no_cpus='%s' no_programs='%s'\n", missing[CPUS_GO] ?: "", missing[PROGRAMS_COME] ?: "");
	fclose(file);
}
