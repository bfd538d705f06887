// SPDX-License-Identifier: GPL-2.0
/* Patches in random order. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "company.h"
#include "stress.h"

#define KLP	"/sys/kernel/livepatch"
#define DEPTH	3

/* The enabled patches, and below them the original. */
static int stack[DEPTH + 1];
static int depth;

static int top(void)
{
	return stack[depth];
}

void phase(unsigned int allowed, int towards, bool force)
{
	must_put(PARAMETERS "/phase", text("%x %d %d", allowed, towards, force));
}

void settled_phase(void)
{
	phase(BIT(top()), NOWHERE, false);
}

/* Sets how long tasks are held. A task that is held when a transition begins prolongs it. */
static void set_hold(unsigned int ms)
{
	must_put(PARAMETERS "/hold", text("%u", ms));
}

const char *attribute(int version, const char *name)
{
	return text(KLP "/stress_p%d/%s", version, name);
}

/*
 * Loads a patch. While a BPF program comes or goes at the same function, its trampoline is locked, and
 * others that register there get EAGAIN.
 */
void load(int version, const char *parameters)
{
	int file = open(text("/stress/stress_p%d.ko", version), O_RDONLY | O_CLOEXEC);
	double start = seconds();

	while (syscall(SYS_finit_module, file, parameters, 0)) {
		if (errno != EAGAIN || missing[PROGRAMS_COME] || seconds() - start > PATIENCE)
			give_up("loading patch %d (%s): %s", version, parameters, strerror(errno));
		done.again++;
		nap(1 + any(20));
	}
	close(file);
}

/* Unloads a disabled patch, once its directory and the reference to its module are gone. */
void unload(int version)
{
	double start = seconds();

	while (access(attribute(version, "enabled"), F_OK) == 0 ||
	       syscall(SYS_delete_module, text("stress_p%d", version), O_NONBLOCK)) {
		if (seconds() - start > PATIENCE)
			give_up("patch %d is not let go", version);
		nap(10);
		progress();
	}
}

bool in_transition(int version)
{
	return number(attribute(version, "transition")) == 1;
}

void wait_settled(int version, void (*time)(unsigned int ms))
{
	double start = seconds();

	for (; in_transition(version); time(5))
		if (seconds() - start > PATIENCE)
			give_up("the transition of patch %d does not end", version);
}

static bool enabled(int version)
{
	return number(attribute(version, "enabled")) == 1;
}

/* Whether the transition in progress has a deadline, and may turn round at any time. */
static bool may_turn_round;

/* In a transition. "off" is the version that runs without the patch. */
static void moving_phase(int version, int off, bool on)
{
	int towards = on ? version : off;

	phase(BIT(version) | BIT(off), may_turn_round ? NOWHERE : towards, false);
}

/* Set once a patch has shown the attribute. The C core has none. */
static bool has_deadlines;

/* Gives the transition in progress a deadline. It may have ended already, and the patch may be gone. */
static void set_deadline(int version, int off)
{
	may_turn_round = true;
	moving_phase(version, off, true);
	if (!put(attribute(version, "deadline"), "1"))
		has_deadlines = true;
	else
		may_turn_round = false;
}

/* After the transition. The next one has no deadline before it is given one. */
static void take_deadline(int version)
{
	if (may_turn_round)
		put(attribute(version, "deadline"), "off");
	may_turn_round = false;
}

/*
 * Reverses a transition. If it has just ended, this begins to disable the patch instead. Returns whether
 * the patch is being enabled from now on. "off" is the version that runs without the patch. A patch that
 * has replaced others returns to them only while they still exist.
 */
static bool turn(int version, bool on, int *off)
{
	int error;

	phase(BIT(version) | BIT(*off) | BIT(0), NOWHERE, false);
	error = put(attribute(version, "enabled"), on ? "0" : "1");
	if (!error) {
		on = !on;
		done.reversals++;
		if (!on && *off && !enabled(*off))
			*off = 0;
	} else if ((on && !may_turn_round) || (error != EINVAL && error != ENOENT && error != ENODEV)) {
		give_up("patch %d cannot be turned: %s", version, strerror(error));
	} else {
		/* The deadline was first, or the patch is gone. */
		if (enabled(version) != on)
			done.deadlines++;
		on = enabled(version);
	}
	moving_phase(version, *off, on);
	return on;
}

/* Moves all tasks at once, wherever they are. Calls in progress may see both versions. */
static void force(int version)
{
	phase(BIT(0) | BIT(version), NOWHERE, true);
	if (!put(attribute(version, "force"), "1"))
		done.forced++;
	phase(BIT(0) | BIT(version), version, false);
}

static bool deadline_left_out(void)
{
	return has_deadlines && !done.deadlines;
}

/* Whether chance has left out one of the actions of a patch. */
static bool left_out(void)
{
	return !done.reversals || !done.stacked || !done.replacements || deadline_left_out();
}

/*
 * Set when a short run on a slow host has had too few transitions. The missing actions are then done on
 * purpose.
 */
static bool on_purpose;

static int choose_turns(void)
{
	if (on_purpose)
		return done.reversals ? 0 : 1;
	return any(3) ? any(6) : 0;
}

static bool choose_deadline(void)
{
	if (on_purpose)
		return done.reversals && deadline_left_out();
	return !any(3);
}

static bool choose_replace(void)
{
	if (on_purpose)
		return depth && done.stacked && !done.replacements;
	return any(2);
}

/* Lets a transition end, with detours. Returns whether the patch is enabled then. */
static bool settle(int version, bool on, int *off)
{
	int turns = choose_turns();

	done.transitions++;
	if (choose_deadline()) {
		set_deadline(version, *off);
		moving_phase(version, *off, on);
	}
	while (turns-- && in_transition(version)) {
		pass(any(4) ? any(30) : any(1200));
		if (in_transition(version))
			on = turn(version, on, off);
	}
	wait_settled(version, pass);
	take_deadline(version);
	if (enabled(version) != on) {
		on = !on;
		done.deadlines++;
	}
	return on;
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
 * Only a patch with no other below is forced. Otherwise a task inside one of those would be left behind
 * when they are unloaded.
 */
static void push(bool by_force)
{
	bool replace = choose_replace();
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
			done.stacked++;
		if (replace && depth)
			done.replacements++;
		for (; replace && depth; depth--)
			unload(top());
		stack[++depth] = version;
		settled_phase();
		return;
	}
	if (off != top())
		/* The patch had replaced those below, and was disabled after that. */
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

static unsigned int hold_on_purpose(void)
{
	if (!done.reversals)
		return 1500;
	return deadline_left_out() ? 3000 : 0;
}

static void play_round(void)
{
	static const unsigned int holds[] = { 0, 5, 100, 700, 1500, 3000 };

	/* Without a held task, a transition may end before it can be reversed. */
	set_hold(on_purpose ? hold_on_purpose() : holds[any(6)]);
	pass(any(60));
	if (!depth || (depth < DEPTH && (on_purpose || any(2))))
		push(!depth && !any(6));
	else
		pop();
	/* Long enough for whatever a core does after a patch has settled. */
	pass(20 + any(400));
}

void play(double minutes)
{
	double end = seconds() + 60 * minutes;

	while (seconds() < end)
		play_round();
	/* An action that never happens is not waited for without end. */
	end = seconds() + 2 * PATIENCE;
	while (seconds() < end && (left_out() || done.transitions < 10 || !company_has_done_all())) {
		on_purpose = left_out();
		play_round();
	}
	on_purpose = false;
	while (depth)
		pop();
	set_hold(0);
	set_tracer("nop");
	set_kprobe(false);
	must_put(PARAMETERS "/rest", "0");
}

/* Forces a transition that tasks keep from ending. */
void play_force(void)
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
