// SPDX-License-Identifier: GPL-2.0
/*
 * stress MINUTES [SEED]: live patches that come, turn round in the middle, settle, are stacked, replaced,
 * disabled, forced and unloaded, in random order, while every CPU calls what they patch, and the function
 * tracers and a kprobe come and go at the same place. It tells stress_target which version may run, see
 * judge.c, and leaves what that counted in FIGURES, for the shell.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define FIGURES		"/tmp/figures"
#define KLP		"/sys/kernel/livepatch"
#define TRACING		"/sys/kernel/tracing"
#define PARAMETERS	"/sys/module/stress_target/parameters"

#define PATCHES		5
#define DEPTH		3
#define HOLDERS		2
#define CPUS		64
/* What stress.h calls VERSIONS: as a direction, none. */
#define NOWHERE		8
#define BIT(n)		(1U << (n))
/* For a transition, in seconds. The core looks once in each. */
#define PATIENCE	60

static const char *const contexts[] = { "user", "thread", "softirq", "interrupt" };
#define THREAD 1
#define CONTEXTS 4
static const char *const kinds[] = { "garbled", "mixed", "forbidden", "backwards" };
#define KINDS 4

/* What has been done, besides calls. */
static unsigned long transitions, reversals, replacements, stacked, tracers, kprobes, forced, rests;
static bool noticed;

/* --- helpers ---------------------------------------------------------------------------------------- */

static void tell(void);

__attribute__((noreturn, format(printf, 1, 2)))
static void give_up(const char *format, ...)
{
	static bool again;
	va_list list;

	printf("# | ");
	va_start(list, format);
	vprintf(format, list);
	va_end(list);
	printf("\n");
	if (!again) {
		again = true;
		tell();
	}
	exit(1);
}

__attribute__((format(printf, 1, 2)))
static const char *text(const char *format, ...)
{
	static char buffers[4][160];
	static unsigned int next;
	char *buffer = buffers[next++ % 4];
	va_list list;

	va_start(list, format);
	vsnprintf(buffer, sizeof(buffers[0]), format, list);
	va_end(list);
	return buffer;
}

/* Returns an error number. */
static int put_with(const char *path, int flags, const char *what)
{
	int file = open(path, O_WRONLY | flags);
	int error = 0;

	if (file < 0)
		return errno;
	if (write(file, what, strlen(what)) < 0)
		error = errno;
	close(file);
	return error;
}

static int put(const char *path, const char *what)
{
	return put_with(path, 0, what);
}

static void must_put(const char *path, const char *what)
{
	int error = put(path, what);

	if (error)
		give_up("writing %s to %s: %s", what, path, strerror(error));
}

/* The number in a file, or -1. */
static int number(const char *path)
{
	FILE *file = fopen(path, "r");
	int value = -1;

	if (!file)
		return -1;
	if (fscanf(file, "%d", &value) != 1)
		value = -1;
	fclose(file);
	return value;
}

static uint64_t seed;

/* Less than "end". */
static unsigned int any(unsigned int end)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (seed >> 32) % end;
}

static double seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec + now.tv_nsec / 1e9;
}

static void nap(unsigned int ms)
{
	struct timespec time = { ms / 1000, ms % 1000 * 1000000L };

	nanosleep(&time, NULL);
}

/* --- the count -------------------------------------------------------------------------------------- */

static struct count {
	unsigned int cpus;
	unsigned long long calls[CPUS][CONTEXTS], wrong[CPUS][CONTEXTS][KINDS], versions[CPUS][NOWHERE];
	unsigned long long all_calls, all_wrong, least;
} count;

static unsigned int name_in(const char *const *names, unsigned int end, const char *name)
{
	unsigned int i;

	for (i = 0; i < end; i++)
		if (!strcmp(names[i], name))
			break;
	return i;
}

static void take_count(void)
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
		if (n < count.least)
			count.least = n;
	}
}

static void forget(void)
{
	must_put(PARAMETERS "/forget", "1");
}

/* A line now and then: the first word decides who reads it. */
static void progress(void)
{
	static double last, last_for_people;
	double now = seconds();

	if (now - last < 10)
		return;
	take_count();
	printf("# %s%lu transitions, %lu reversals, %llu million calls, %llu wrong\n",
	       now - last_for_people < 60 ? "now: " : "| ", transitions, reversals,
	       count.all_calls / 1000000, count.all_wrong);
	fflush(stdout);
	last = now;
	if (now - last_for_people >= 60)
		last_for_people = now;
}

/* --- who calls -------------------------------------------------------------------------------------- */

static void child_of(pid_t parent)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(1);
}

static void read_once(int file)
{
	char byte;

	if (read(file, &byte, 1) < 0)
		_exit(1);
}

/* On each CPU one child after the other: they inherit where their parent is, and are moved on their way
 * out of the kernel. */
static void call_on(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	sched_setaffinity(0, sizeof(set), &set);
	seed += cpu + 1;
	for (;;) {
		int rounds = 1 + any(300);
		pid_t self = getpid(), child = fork();
		int file;

		if (child > 0) {
			waitpid(child, NULL, 0);
			continue;
		}
		child_of(self);
		file = open("/proc/stress/calls", O_RDONLY);
		while (rounds--)
			read_once(file);
		_exit(0);
	}
}

static void hold(void)
{
	int file = open("/proc/stress/hold", O_RDONLY);

	for (;;) {
		read_once(file);
		nap(20);
	}
}

static void start_callers(void)
{
	pid_t self = getpid();
	int cpu, i;

	for (cpu = 0; cpu < sysconf(_SC_NPROCESSORS_ONLN); cpu++)
		if (!fork()) {
			child_of(self);
			call_on(cpu);
		}
	for (i = 0; i < HOLDERS; i++)
		if (!fork()) {
			child_of(self);
			hold();
		}
}

/* --- neighbours ------------------------------------------------------------------------------------- */

static void set_tracer(const char *name)
{
	if (!put(TRACING "/current_tracer", name) && strcmp(name, "nop"))
		tracers++;
}

static void set_kprobe(bool on)
{
	static bool is;

	if (on == is)
		return;
	if (on && !put_with(TRACING "/kprobe_events", O_APPEND, "p:stress/f stress_f")) {
		if (!put(TRACING "/events/stress/f/enable", "1"))
			kprobes++;
	} else if (!on) {
		put(TRACING "/events/stress/f/enable", "0");
		put_with(TRACING "/kprobe_events", O_APPEND, "-:stress/f");
	} else {
		return;
	}
	is = on;
}

/* Something else at the patched functions, or in what calls them, is different from now on. */
static void neighbour(void)
{
	static const char *const names[] = { "function", "function_graph", "nop" };

	switch (any(3)) {
	case 0:
		set_tracer(names[any(3)]);
		break;
	case 1:
		set_kprobe(any(2));
		break;
	default:
		if (any(4)) {
			must_put(PARAMETERS "/rest", "0");
		} else {
			must_put(PARAMETERS "/rest", "1");
			rests++;
		}
	}
}

static void start_neighbours(void)
{
	put(TRACING "/buffer_size_kb", "64");
	must_put(TRACING "/set_ftrace_filter", "stress_f stress_g");
}

/* Time passes, and neighbours come and go. */
static void pass(unsigned int ms)
{
	unsigned int step;

	for (; ms; ms -= step) {
		step = ms < 50 ? ms : 50;
		nap(step);
		if (!any(8))
			neighbour();
	}
	progress();
}

/* --- patches ---------------------------------------------------------------------------------------- */

/* Those that are enabled, and below them the original. */
static int stack[DEPTH + 1];
static int depth;

static int top(void)
{
	return stack[depth];
}

static void phase(unsigned int allowed, int towards, bool force)
{
	must_put(PARAMETERS "/phase", text("%x %d %d", allowed, towards, force));
}

static void settled_phase(void)
{
	phase(BIT(top()), NOWHERE, false);
}

/* A task that is held as a transition begins makes it last. */
static void set_hold(unsigned int ms)
{
	must_put(PARAMETERS "/hold", text("%u", ms));
}

static const char *attribute(int version, const char *name)
{
	return text(KLP "/stress_p%d/%s", version, name);
}

static void load(int version, const char *parameters)
{
	int file = open(text("/stress/stress_p%d.ko", version), O_RDONLY | O_CLOEXEC);

	if (syscall(SYS_finit_module, file, parameters, 0))
		give_up("loading patch %d (%s): %s", version, parameters, strerror(errno));
	close(file);
}

/* Once it is disabled: its directory goes, and so does what holds the module. */
static void unload(int version)
{
	double start = seconds();

	while (access(attribute(version, "enabled"), F_OK) == 0 ||
	       syscall(SYS_delete_module, text("stress_p%d", version), O_NONBLOCK)) {
		if (seconds() - start > PATIENCE)
			give_up("patch %d is not let go", version);
		nap(10);
	}
}

static bool in_transition(int version)
{
	return number(attribute(version, "transition")) == 1;
}

static bool enabled(int version)
{
	return number(attribute(version, "enabled")) == 1;
}

/*
 * Turns a transition round, or if that has just ended, begins to disable the patch. Whether it goes on
 * or off from now on; "off" is what runs without it. Who has replaced others goes back to them only
 * while they are still there.
 */
static bool turn(int version, bool on, int *off)
{
	int error;

	phase(BIT(version) | BIT(*off) | BIT(0), NOWHERE, false);
	error = put(attribute(version, "enabled"), on ? "0" : "1");
	if (!error) {
		on = !on;
		reversals++;
		if (!on && *off && !enabled(*off))
			*off = 0;
	} else if (on || (error != EINVAL && error != ENOENT && error != ENODEV)) {
		give_up("patch %d cannot be turned: %s", version, strerror(error));
	}
	phase(BIT(version) | BIT(*off), on ? version : *off, false);
	return on;
}

/* Moves all tasks at once, wherever they are: calls that are going on may see both versions. */
static void force(int version)
{
	phase(BIT(0) | BIT(version), NOWHERE, true);
	if (!put(attribute(version, "force"), "1"))
		forced++;
	phase(BIT(0) | BIT(version), version, false);
}

/* To the end of a transition that has begun, by detours. Whether the patch is enabled then. */
static bool settle(int version, bool on, int *off)
{
	int turns = any(3) ? any(6) : 0;
	double start;

	transitions++;
	while (turns-- && in_transition(version)) {
		pass(any(4) ? any(30) : any(1200));
		if (in_transition(version))
			on = turn(version, on, off);
	}
	for (start = seconds(); in_transition(version); pass(5))
		if (seconds() - start > PATIENCE)
			give_up("the transition of patch %d does not end", version);
	return enabled(version);
}

static bool is_enabled(int version)
{
	int i;

	for (i = 1; i <= depth; i++)
		if (stack[i] == version)
			return true;
	return false;
}

/*
 * Forced is only a patch that has no other below: a task that is inside one of those would be left behind
 * when they are unloaded.
 */
static void push(bool by_force)
{
	bool replace = any(2);
	int version, off = top();

	do
		version = 1 + any(PATCHES);
	while (is_enabled(version));
	phase(BIT(off) | BIT(version), version, false);
	load(version, replace ? "replace=1" : "");
	if (by_force)
		force(version);
	if (settle(version, true, &off)) {
		if (!replace && depth)
			stacked++;
		if (replace && depth)
			replacements++;
		for (; replace && depth; depth--)
			unload(top());
		stack[++depth] = version;
		settled_phase();
		return;
	}
	if (off != top())
		/* It had replaced them, and was disabled after that. */
		for (; depth; depth--)
			unload(top());
	settled_phase();
	unload(version);
}

static void pop(void)
{
	int version = top(), off = stack[depth - 1];

	phase(BIT(version) | BIT(off), off, false);
	must_put(attribute(version, "enabled"), "0");
	if (settle(version, false, &off)) {
		settled_phase();
		return;
	}
	depth--;
	settled_phase();
	unload(version);
}

static void play_round(void)
{
	static const unsigned int holds[] = { 0, 5, 100, 700, 1500, 3000 };

	set_hold(holds[any(6)]);
	pass(any(60));
	if (!depth || (depth < DEPTH && any(2)))
		push(!depth && !any(6));
	else
		pop();
	/* Long enough for whatever a core does once a patch has settled. */
	pass(20 + any(400));
}

static void play(double minutes)
{
	double end = seconds() + 60 * minutes;

	while (seconds() < end)
		play_round();
	while (depth)
		pop();
	set_hold(0);
	set_tracer("nop");
	set_kprobe(false);
	must_put(PARAMETERS "/rest", "0");
}

/* One that tasks are in the way of. */
static void play_force(void)
{
	while (number(PARAMETERS "/held") > 0)
		nap(10);
	set_hold(3000);
	while (number(PARAMETERS "/held") < HOLDERS)
		nap(10);
	push(true);
	set_hold(0);
	pass(500);
	while (depth)
		pop();
}

/* --- whether it would notice ------------------------------------------------------------------------ */

static void expect(const char *kind, unsigned int context, const char *when)
{
	unsigned int cpu, of = name_in(kinds, KINDS, kind);

	take_count();
	for (cpu = 0; cpu < count.cpus; cpu++)
		if (!count.wrong[cpu][context][of])
			give_up("%s: no %s result in context %s on CPU %u", when, kind, contexts[context], cpu);
}

static void wait_settled(int version)
{
	double start = seconds();

	while (in_transition(version))
		if (seconds() - start > PATIENCE)
			give_up("the transition of patch %d does not end", version);
		else
			nap(10);
}

/* Enables and disables a patch that something is wrong with. */
static void notice(const char *parameters, const char *kind, unsigned int from, unsigned int end, const char *when)
{
	unsigned int context;

	forget();
	/* Disabling it comes unannounced. */
	phase(BIT(0) | BIT(1), 1, false);
	load(1, parameters);
	wait_settled(1);
	nap(1000);
	must_put(attribute(1, "enabled"), "0");
	wait_settled(1);
	nap(100);
	for (context = from; context < end; context++)
		expect(kind, context, when);
	unload(1);
	settled_phase();
}

static void notice_all(void)
{
	unsigned int context;

	forget();
	settled_phase();
	nap(500);
	take_count();
	if (count.all_wrong)
		give_up("wrong results before there was a patch");
	phase(BIT(7), NOWHERE, false);
	nap(500);
	for (context = 0; context < CONTEXTS; context++)
		expect("forbidden", context, "the original, which is not allowed");
	notice("half=1", "mixed", 0, CONTEXTS, "a patch of half the functions");
	notice("spoil=8", "garbled", 0, CONTEXTS, "a patch that loses a bit");
	/* A program may have ended meanwhile, and timers interrupt anyone: only kthreads are sure to see it. */
	notice("", "backwards", THREAD, THREAD + 1, "a patch that is taken back unannounced");
	nap(100);
	forget();
	noticed = true;
}

/* --- the whole -------------------------------------------------------------------------------------- */

static void tell(void)
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
	printf("# | %llu calls, %lu transitions (%lu turned round, %lu stacked, %lu replaced all, %lu forced)\n",
	       count.all_calls, transitions, reversals, stacked, replacements, forced);
	printf("# | neighbours: %lu times a tracer, %lu a kprobe; %lu rests; wrong results: %llu\n",
	       tracers, kprobes, rests, count.all_wrong);
	fflush(stdout);
	file = fopen(FIGURES, "w");
	if (!file)
		give_up("cannot write " FIGURES);
	fprintf(file, "calls=%llu least=%llu wrong=%llu\n", count.all_calls, count.least, count.all_wrong);
	fprintf(file, "transitions=%lu reversals=%lu stacked=%lu replacements=%lu forced=%lu noticed=%d\n",
		transitions, reversals, stacked, replacements, forced, noticed);
	fclose(file);
}

int main(int argc, char **argv)
{
	double minutes = argc > 1 ? atof(argv[1]) : 1;

	seed = argc > 2 ? strtoull(argv[2], NULL, 0) : (uint64_t)time(NULL) * 1000003 + getpid();
	if (!seed)
		seed = 1;
	printf("# | %g minutes, seed %llu\n", minutes, (unsigned long long)seed);
	fflush(stdout);
	start_callers();
	set_hold(0);
	notice_all();
	start_neighbours();
	play(minutes);
	play_force();
	tell();
	return 0;
}
