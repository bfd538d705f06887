# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
# Kthreads that never sleep, one on each of two CPUs. They have to move soon, in either direction, though each
# attempt finds them running; or else the log has to name what keeps them.
#
# To be moved is not all: a patch is taken back once ftrace has let go of the function, and ftrace waits for
# tasks-RCU, and so for each task to sleep or to say that it is in no trampoline. So there are kthreads that
# say so (cond_resched_tasks_rcu_qs()) for the whole way, and for others only the move is looked at.

BUSY=regressions_busy
BUSY_PATCH=regressions_busy_patch
BUSY_ROUNDS=10
# Milliseconds, of the guest's time as the log has it, within which all have moved: the median of the rounds. Where CPUs
# run at the same time it is 10 or 30 ms. An emulator runs one after the other, a tenth of a second each while neither
# is idle, and is kept waiting by others on its host, so that single rounds may take seconds. Without the stopper, it is
# by chance that an attempt finds them off their CPUs: the median is 4 to 9 seconds, and single rounds take up to 19.
BUSY_SOON=2000
# Tenths of a second after which it counts as one that does not end, and they are helped.
BUSY_PATIENCE=100

busy_set() { # PARAMETER VALUE
	echo "$2" >"/sys/module/$BUSY/parameters/$1"
}

# The milliseconds between the beginning of the last transition since the mark and the moment when all tasks had
# moved; nothing if that has not come.
busy_took() { # patching or unpatching
	dmesg | sed "1,/guest mark $marks\$/d" | awk -v patch="'$BUSY_PATCH'" -v verb="$1" '
		{ time = $0; sub(/^\[ */, "", time); sub(/\].*/, "", time) }
		index($0, patch ": starting " verb " transition") { start = time }
		index($0, patch ": completing " verb " transition") { printf "%.0f\n", (time - start) * 1000 }' | tail -n 1
}

busy_moved() { # patching or unpatching
	[ -n "$(busy_took "$1")" ]
}

busy_within() { # TENTHS COMMAND...: whether it succeeds in so much time
	_patience=$PATIENCE
	PATIENCE=$1
	shift
	wait_until "$@"
	_ended=$?
	PATIENCE=$_patience
	return $_ended
}

# Waits for the end of a transition. Adds to `times` the looks and the milliseconds; those that had to be helped to
# it took for ever.
busy_transition() { # patching or unpatching, COMMAND...: that succeeds when it is over
	_verb=$1
	shift
	# Whoever runs takes one of them off its CPU, so that an attempt may find it by chance.
	sleep 2
	if busy_within $BUSY_PATIENCE busy_moved "$_verb"; then
		times="$times $(busy_looks):$(busy_took "$_verb")"
	else
		times="$times never"
		reasons="$reasons$(busy_reasons)
"
	fi
	if [ "$mode" = report ] && ! wait_until "$@"; then
		wrong="$wrong $_verb does not end;"
	fi
	# ftrace waits for the others to sleep.
	busy_set busy N
	wait_until "$@" || wrong="$wrong $_verb does not end though they sleep;"
	busy_set busy Y
}

# How often it was looked at them in vain since the mark.
busy_looks() {
	log_since_mark | grep -c '^livepatch: klp_try_switch_task: busy/'
}

# The kthreads in the lines for dynamic debug, and why they could not move, most frequent reason first.
busy_reasons() {
	log_since_mark | sed -n 's/^livepatch: klp_try_switch_task: \(busy\/[0-9]*\):[0-9]* /\1 /p' |
		sort | uniq -c | sort -rn | head -n 6
}

# One round. Adds to `there` and `back`, and says what is wrong.
busy_round() {
	log_mark
	times=$there
	insmod "/regressions/$BUSY_PATCH.ko" || wrong="$wrong the patch does not load;"
	busy_transition patching settled $BUSY_PATCH
	there=$times
	[ "$(cat /sys/module/$BUSY/parameters/call)" = 2 ] || wrong="$wrong not patched;"
	log_mark
	times=$back
	echo 0 >$KLP/$BUSY_PATCH/enabled
	busy_transition unpatching gone $BUSY_PATCH
	back=$times
	[ "$(cat /sys/module/$BUSY/parameters/call)" = 1 ] || wrong="$wrong not unpatched;"
	wait_until unused $BUSY_PATCH && rmmod $BUSY_PATCH || wrong="$wrong the patch does not unload;"
}

# The median of the milliseconds, or "never". Of an even number of rounds it is the greater one of the two in the middle.
busy_median() { # LOOKS:MILLISECONDS...
	for _time; do
		case $_time in
		never) echo never ;;
		*) echo "${_time#*:}" ;;
		esac
	# What is no number comes last.
	done | sed 's/^never$/999999999 never/' | sort -n | sed -n "$(($# / 2 + 1))p" | sed 's/.* //'
}

busy_direction() { # NAME LOOKS:MILLISECONDS...
	_name="$1: all move within $BUSY_SOON ms, in the median of $BUSY_ROUNDS rounds"
	shift
	_median=$(busy_median "$@")
	say "looks in vain, and milliseconds until all have moved: $*; median: $_median"
	if [ $# -eq $BUSY_ROUNDS ] && [ "$_median" != never ] && [ "$_median" -le $BUSY_SOON ]; then
		pass "$_name"
	else
		fail "$_name" "$reasons"
	fi
}

busy_kthreads() {
	heading "Kthreads that are always running"
	if [ "$(running_core)" = c ]; then
		skip "busy kthreads" "the C core moves them only where an attempt happens to find them off their CPUs"
		return
	fi
	if [ "$(uname -m)" != x86_64 ]; then
		# An interrupt that takes a task off its CPU leaves an exception on its stack.
		skip "busy kthreads" "a stack with an exception on it is unreliable on $(uname -m)"
		return
	fi
	_control=/sys/kernel/debug/dynamic_debug/control
	insmod "/regressions/$BUSY.ko" || {
		fail "the busy kthreads' module loads"
		return
	}
	echo 'func klp_try_switch_task +p' >$_control
	echo 'func klp_complete_transition +p' >$_control
	for mode in offer report; do
		busy_set report $([ $mode = report ] && echo Y || echo N)
		there='' back='' wrong='' reasons='' _round=0
		while [ $_round -lt $BUSY_ROUNDS ]; do
			busy_round
			_round=$((_round + 1))
			# A guest that says nothing for long is taken for one that hangs.
			say "after $_round rounds: there$there, back$back"
		done
		[ $mode = offer ] && _how="kthreads that offer their CPU" || _how="kthreads that tell tasks-RCU"
		# shellcheck disable=SC2086 # they are words
		busy_direction "$_how, there" $there
		# shellcheck disable=SC2086 # they are words
		busy_direction "$_how, back" $back
		check_equal "$_how: transitions end, calls get the right version" "" "$wrong"
	done
	echo 'func klp_try_switch_task -p' >$_control
	echo 'func klp_complete_transition -p' >$_control
	# Should it stay, they disturb nobody.
	busy_set busy N
	check "the busy kthreads' module unloads" rmmod $BUSY
}
