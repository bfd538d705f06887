// SPDX-License-Identifier: GPL-2.0
/*
 * The guest's part of `cargo xtask bench`. It prints one line for each figure:
 *
 *	bench NAME SIZE VALUE
 *
 * Times are in nanoseconds. A figure that is measured several times has several lines. Modes:
 *
 *	calls		the cost of a call: unpatched, through a jump, in transition, settled
 *	patches SIZE...	enabling, settling, disabling and unloading a patch of SIZE functions
 *	tasks COUNT...	one attempt to end a transition with COUNT tasks, and the longest time
 *			for which it keeps the CPU from a more urgent task
 *	transitions	the time until a transition is over, with tasks of several kinds
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define TARGET "/sys/module/bench_target/parameters/"

/* The loaded patch: its module and its sysfs directory. */
static char patch[32];
static char directory[64], enabled[96], transition[96], gear[96];

/* A patch is measured up to RUNS times. No run starts after BUDGET has been used up. */
#define RUNS 5
#define BUDGET (40 * 1000000000ull)

static void fail(const char *what)
{
	fprintf(stderr, "bench: %s: %s\n", what, strerror(errno));
	printf("failed: %s: %s\n", what, strerror(errno));
	exit(1);
}

static uint64_t now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * 1000000000ull + time.tv_nsec;
}

static void nap(long ns)
{
	struct timespec time = { .tv_nsec = ns };

	nanosleep(&time, NULL);
}

static void tell(const char *name, long size, uint64_t value)
{
	printf("bench %s %ld %llu\n", name, size, (unsigned long long)value);
	fflush(stdout);
}

/* Reads the first line of a file. The text is empty if the file cannot be read. */
static void look(const char *path, char *text, size_t size)
{
	int file = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t length = file < 0 ? 0 : read(file, text, size - 1);

	text[length > 0 ? length : 0] = '\0';
	if (file >= 0)
		close(file);
}

static bool is(const char *path, char value)
{
	char text[16];

	look(path, text, sizeof(text));
	return text[0] == value;
}

static void put(const char *path, const char *text)
{
	int file = open(path, O_WRONLY | O_CLOEXEC);

	if (file < 0 || write(file, text, strlen(text)) < 0)
		fail(path);
	close(file);
}

static void load(long size, const char *parameters)
{
	char path[64];
	int file;

	snprintf(patch, sizeof(patch), "bench_patch_%ld", size);
	snprintf(directory, sizeof(directory), "/sys/kernel/livepatch/%s", patch);
	snprintf(enabled, sizeof(enabled), "%s/enabled", directory);
	snprintf(transition, sizeof(transition), "%s/transition", directory);
	snprintf(gear, sizeof(gear), "%s/gear", directory);
	snprintf(path, sizeof(path), "/bench/%s.ko", patch);
	file = open(path, O_RDONLY | O_CLOEXEC);
	if (file < 0 || syscall(SYS_finit_module, file, parameters, 0))
		fail(patch);
	close(file);
}

static void unload(void)
{
	while (syscall(SYS_delete_module, patch, O_NONBLOCK)) {
		if (errno != EAGAIN && errno != EBUSY)
			fail("delete_module");
		nap(1000000);
	}
}

static void settle(void)
{
	while (is(transition, '1'))
		nap(100000);
}

/* Lets what was just asked for come to its end. */
static void rest(void)
{
	nap(100000000);
}

static void wait_gone(void)
{
	struct stat none;

	while (!stat(directory, &none))
		nap(100000);
}

static void disable(void)
{
	put(enabled, "0");
	wait_gone();
	unload();
}

/* Starts a task that stays inside bench_hold(). */
static pid_t hold(void)
{
	pid_t child = fork();

	if (child < 0)
		fail("fork");
	if (!child) {
		char text[16];

		look("/proc/bench_hold", text, sizeof(text));
		_exit(0);
	}
	while (!is(TARGET "held", '1'))
		nap(1000000);
	return child;
}

static void release(pid_t child)
{
	put(TARGET "release", "1");
	waitpid(child, NULL, 0);
	put(TARGET "release", "0");
}

/* --- calls --------------------------------------------------------------------------------------- */

static void calls(const char *when)
{
	unsigned long long loop, unpatched, jump, patched;
	char text[256];
	int count, result;

	look("/proc/bench_calls", text, sizeof(text));
	if (sscanf(text, "calls %d loop %llu unpatched %llu jump %llu patched %llu result %d", &count,
		   &loop, &unpatched, &jump, &patched, &result) != 6)
		fail("/proc/bench_calls");
	tell("loop", count, loop);
	tell("unpatched", count, unpatched);
	tell("jump", count, jump);
	tell(when, count, patched);
	/* The version that answered. The original returns 10000. */
	tell("version", result, 0);
}

static void all_calls(void)
{
	pid_t child;

	calls("original");
	child = hold();
	load(1, "hold=1");
	calls("transition");
	release(child);
	settle();
	calls("settled");
	disable();
	calls("original");
}

/* --- patches ------------------------------------------------------------------------------------- */

static long long free_memory(void)
{
	FILE *file = fopen("/proc/meminfo", "re");
	long long total = 0, kib;
	char name[64];

	put("/proc/sys/vm/drop_caches", "3");
	while (file && fscanf(file, "%63s %lld%*[^\n]", name, &kib) == 2)
		if (!strcmp(name, "MemFree:"))
			total = kib * 1024;
	if (file)
		fclose(file);
	return total;
}

/* Measures the kernel's memory for an enabled patch, without that of the module itself. */
static void memory(long size)
{
	long long with_none, with_all;

	load(size, "count=0");
	settle();
	with_none = free_memory();
	disable();
	load(size, "");
	settle();
	with_all = free_memory();
	disable();
	tell("memory", size, with_none > with_all ? with_none - with_all : 0);
}

static void patches(long size)
{
	uint64_t begin = now();
	int run;

	for (run = 0; run < RUNS && (!run || now() - begin < BUDGET); run++) {
		uint64_t start = now(), loaded, settled, asked, gone;

		load(size, "");
		loaded = now();
		settle();
		settled = now();
		rest();
		asked = now();
		put(enabled, "0");
		wait_gone();
		gone = now();
		unload();
		tell("enable", size, loaded - start);
		tell("settle", size, settled - loaded);
		tell("disable", size, gone - asked);
		tell("unload", size, now() - gone);
	}
}

/* --- tasks --------------------------------------------------------------------------------------- */

static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;

static void *sleeper(void *unused)
{
	pthread_mutex_lock(&gate);
	pthread_mutex_unlock(&gate);
	return unused;
}

static volatile bool watching;
static volatile uint64_t longest;

/* The most urgent task. It wants the CPU for a moment again and again. */
static void *watcher(void *unused)
{
	while (watching) {
		uint64_t asked = now(), late;

		nap(20000);
		late = now() - asked;
		if (late > longest)
			longest = late;
	}
	return unused;
}

/*
 * Begins a transition. This looks at every task once. The transition cannot end while one task is held.
 * Leaving the settled gear is not measured here: it belongs to the times to disable.
 */
static uint64_t attempt(void)
{
	uint64_t start;

	if (access(gear, W_OK) == 0)
		put(gear, "handler");
	start = now();
	put(enabled, "0");
	return now() - start;
}

/* Starts threads that sleep. */
static pthread_t *start_sleepers(long count)
{
	pthread_t *threads = calloc(count, sizeof(*threads));
	pthread_attr_t small;
	long i;

	put("/proc/sys/kernel/threads-max", "30000");
	put("/proc/sys/vm/max_map_count", "100000");
	pthread_attr_init(&small);
	pthread_attr_setstacksize(&small, PTHREAD_STACK_MIN);
	pthread_attr_setguardsize(&small, 0);
	pthread_mutex_lock(&gate);
	for (i = 0; i < count; i++) {
		errno = pthread_create(&threads[i], &small, sleeper, NULL);
		if (errno)
			fail("pthread_create");
	}
	rest();
	return threads;
}

static void end_sleepers(pthread_t *threads, long count)
{
	long i;

	pthread_mutex_unlock(&gate);
	for (i = 0; i < count; i++)
		pthread_join(threads[i], NULL);
	free(threads);
}

static pthread_t watch;

/* Starts the most urgent task. */
static void start_watch(void)
{
	struct sched_param urgent = { .sched_priority = 50 };

	watching = true;
	if (pthread_create(&watch, NULL, watcher, NULL) ||
	    pthread_setschedparam(watch, SCHED_FIFO, &urgent))
		fail("watcher");
}

static void end_watch(void)
{
	watching = false;
	pthread_join(watch, NULL);
}

/* Returns how late the most urgent task comes at most while nothing is asked of the core. */
static uint64_t latest_in(long nanoseconds)
{
	longest = 0;
	nap(nanoseconds);
	return longest;
}

/* Returns how late it comes at most during an attempt. */
static uint64_t latest_in_attempt(void)
{
	longest = 0;
	attempt();
	return longest;
}

static pid_t start_child(void (*fn)(void))
{
	pid_t child = fork();

	if (child < 0)
		fail("fork");
	if (!child) {
		fn();
		_exit(0);
	}
	return child;
}

static void end_child(pid_t child)
{
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
}

static void storm(void)
{
	for (;;) {
		pid_t child = fork();

		if (!child)
			_exit(0);
		if (child > 0)
			waitpid(child, NULL, 0);
	}
}

static void tasks(long count)
{
	pthread_t *threads = start_sleepers(count);
	uint64_t quiet, late;
	pid_t child;
	int run;

	for (run = 0; run < 2 * RUNS; run++) {
		load(1, "hold=1");
		settle();
		child = hold();
		if (run < RUNS) {
			tell("attempt", count, attempt());
		} else {
			start_watch();
			quiet = latest_in(20000000);
			late = latest_in_attempt();
			tell("stretch", count, late > quiet ? late - quiet : 0);
			end_watch();
		}
		release(child);
		wait_gone();
		unload();
	}
	end_sleepers(threads, count);
}

/*
 * As the end of tasks(), while another process forks all the time. Forks themselves keep the most
 * urgent task waiting, so this also tells how long they do so without an attempt, in a time that is
 * longer than an attempt.
 */
static void crowded_tasks(long count)
{
	pid_t forker = start_child(storm), child;
	pthread_t *threads = start_sleepers(count);
	int run;

	for (run = 0; run < RUNS; run++) {
		load(1, "hold=1");
		settle();
		child = hold();
		start_watch();
		tell("storm-alone", count, latest_in(500000000));
		tell("storm-stretch", count, latest_in_attempt());
		end_watch();
		release(child);
		wait_gone();
		unload();
	}
	end_sleepers(threads, count);
	end_child(forker);
}

/* --- transitions --------------------------------------------------------------------------------- */

/* Enables a patch of bench_hold(). Returns how long after that the transition is over. */
static uint64_t over(void)
{
	uint64_t start;

	load(1, "hold=1");
	start = now();
	settle();
	return now() - start;
}

static void measure(const char *name, int runs)
{
	while (runs--) {
		tell(name, 0, over());
		disable();
	}
}

static void spin(void)
{
	for (;;)
		;
}

#define SLEEPERS 1000
#define CROWD 10000
#define PATIENCE (30 * 1000000000ull)

static void transitions(void)
{
	long i, cpus = sysconf(_SC_NPROCESSORS_ONLN);
	pid_t children[64], child;
	pthread_t *threads;
	uint64_t start;

	measure("idle", RUNS);

	threads = start_sleepers(SLEEPERS);
	measure("sleepers", RUNS);
	end_sleepers(threads, SLEEPERS);

	for (i = 0; i < cpus && i < 64; i++)
		children[i] = start_child(spin);
	measure("spinners", 1);
	while (i--)
		end_child(children[i]);

	put(TARGET "light", "1");
	child = hold();
	tell("light", 0, over());
	release(child);
	disable();
	put(TARGET "light", "0");

	child = hold();
	load(1, "hold=1");
	sleep(3);
	start = now();
	put(TARGET "release", "1");
	settle();
	tell("heavy", 0, now() - start);
	release(child);
	disable();

	/* With the C core this may never end. */
	put(TARGET "busy", "1");
	/* It sleeps for as long as one rest() before it sees that. */
	rest();
	rest();
	load(1, "hold=1");
	start = now();
	while (is(transition, '1') && now() - start < PATIENCE)
		nap(100000);
	tell("busy", 0, now() - start);
	put(TARGET "busy", "0");
	settle();
	disable();

	child = start_child(storm);
	threads = start_sleepers(CROWD);
	tell("storm", 0, over());
	end_child(child);
	end_sleepers(threads, CROWD);
	disable();
}

int main(int argc, char **argv)
{
	int i;

	if (argc < 2)
		return 2;
	if (!strcmp(argv[1], "calls"))
		all_calls();
	if (!strcmp(argv[1], "transitions"))
		transitions();
	for (i = 2; i < argc; i++) {
		long size = atol(argv[i]);

		if (!strcmp(argv[1], "patches")) {
			patches(size);
			if (i == argc - 1)
				memory(size);
		} else {
			tasks(size);
			if (i == argc - 1)
				crowded_tasks(size);
		}
	}
	printf("done\n");
	return 0;
}
