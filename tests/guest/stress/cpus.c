// SPDX-License-Identifier: GPL-2.0
/* CPUs go offline and come back. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "company.h"

static const char *switch_of(unsigned int cpu)
{
	return text("/sys/devices/system/cpu/cpu%u/online", cpu);
}

static unsigned int number_of_cpus(void)
{
	unsigned int cpu = 0;

	while (cpu < CPUS && !access(text("/sys/devices/system/cpu/cpu%u", cpu), F_OK))
		cpu++;
	return cpu;
}

static const char *lacks_switches(void)
{
	unsigned int cpu;

	if (number_of_cpus() < 2)
		return "there is one CPU only";
	for (cpu = 1; cpu < number_of_cpus(); cpu++)
		if (access(switch_of(cpu), W_OK))
			return "the kernel does not take CPUs off";
	return NULL;
}

/* Switches a CPU. The kernel is busy for a moment now and then. */
static void must_switch(unsigned int cpu, const char *to)
{
	double start = seconds();
	int error;

	while ((error = put(switch_of(cpu), to))) {
		if (error != EBUSY && error != EAGAIN)
			give_up("switching CPU %u to %s: %s", cpu, to, strerror(error));
		if (seconds() - start > PATIENCE)
			give_up("CPU %u can't be switched to %s", cpu, to);
		nap(10);
	}
}

static unsigned int cpus;
/* The time since which each CPU has been offline; 0: it is online. */
static double since[CPUS];

static void begin(void)
{
	cpus = number_of_cpus();
}

static void take_off(unsigned int cpu)
{
	since[cpu] = seconds();
	must_switch(cpu, "0");
	company->cpus_off++;
}

static void bring_back(unsigned int cpu)
{
	must_switch(cpu, "1");
	company->off[cpu] += seconds() - since[cpu];
	since[cpu] = 0;
}

/* With more than two CPUs, several may be offline at the same time. */
static void one_round(void)
{
	unsigned int cpu = 1 + any(cpus - 1);

	if (!since[cpu]) {
		take_off(cpu);
		nap(any(2) ? any(50) : any(800));
		if (cpus > 2 && any(2))
			return;
	}
	bring_back(cpu);
	nap(any(2) ? any(300) : any(3000));
}

static void end(void)
{
	unsigned int cpu;

	for (cpu = 1; cpu < cpus; cpu++)
		if (since[cpu])
			bring_back(cpu);
}

const struct part cpus_part = {
	.name = "CPU hotplug",
	.lacks = lacks_switches,
	.begin = begin,
	.round = one_round,
	.end = end,
};
