# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh disable=SC2034
# What the guest's scripts share: results as KTAP, text for people, and the livepatch sysfs files.

KLP=/sys/kernel/livepatch
MODULES=/modules
# Tenths of a second that a transition or a refcount may take. The core looks once a second, and an
# emulated guest on a busy host is slow; only a core that is stuck needs this long.
PATIENCE=600

# --- KTAP ----------------------------------------------------------------------------------------

tests=0
failures=0

plan() { # NUMBER: how many results follow
	echo "KTAP version 1"
	echo "1..$1"
}

pass() { # NAME
	tests=$((tests + 1))
	echo "ok $tests - $1"
}

fail() { # NAME [WHY]
	tests=$((tests + 1))
	failures=$((failures + 1))
	[ -z "${2:-}" ] || echo "$2" | text
	echo "not ok $tests - $1"
}

skip() { # NAME WHY
	tests=$((tests + 1))
	echo "ok $tests - $1 # SKIP $2"
}

check() { # NAME COMMAND...: a result from the command's exit status
	_name=$1
	shift
	if "$@"; then pass "$_name"; else fail "$_name"; fi
}

check_equal() { # NAME EXPECTED ACTUAL
	if [ "$2" = "$3" ]; then
		pass "$1"
	else
		fail "$1" "expected: $2
     got: $3"
	fi
}

done_testing() { # the script's exit status
	[ "$failures" -eq 0 ]
}

# --- text for people -----------------------------------------------------------------------------

heading() { echo "# == $*"; }
text() { sed 's/^/# | /'; }
say() { echo "$*" | text; }

show() { # COMMAND...: the command as one would type it, then what it prints
	echo "\$ $*" | text
	"$@" 2>&1 | text
}

# --- waiting -------------------------------------------------------------------------------------

wait_until() { # COMMAND...: until it succeeds, or patience is over
	_left=$PATIENCE
	until "$@"; do
		_left=$((_left - 1))
		[ "$_left" -gt 0 ] || return 1
		sleep 0.1
	done
}

# --- the kernel log ------------------------------------------------------------------------------

# Log lines since the last log_mark. A mark is a line of ours in the log itself: it needs no clock,
# and survives lines that are printed late.
marks=0
log_mark() {
	marks=$((marks + 1))
	echo "guest mark $marks" >/dev/kmsg
}

log_since_mark() {
	dmesg | sed -e "1,/guest mark $marks\$/d" -e 's/^\[[^]]*\] //' -e 's/^\[ *[CT][0-9]*\] //'
}

log_has() { # TEXT: since the mark
	log_since_mark | grep -qF -- "$1"
}

livepatch_log() {
	log_since_mark | grep '^livepatch: '
}

# Where the kernel looks for leaks: what it found. It takes two scans to tell one from memory in flight.
leaks() {
	[ -e /sys/kernel/debug/kmemleak ] || return 0
	for _scan in 1 2; do
		sleep 5
		echo scan >/sys/kernel/debug/kmemleak
	done
	cat /sys/kernel/debug/kmemleak
}

# The kernel's own log lasts only so long. From here on all of it is kept in a file, for no_complaint.
LOG=
keep_log() {
	LOG=/tmp/log
	# A reader that falls behind is told once that lines are lost; it starts over then.
	while :; do
		cat /dev/kmsg 2>/dev/null
		sleep 1
	done >$LOG &
}

all_log() {
	if [ -n "$LOG" ]; then cat $LOG; else dmesg; fi
}

# What the kernel says when something is wrong with itself.
COMPLAINT='WARNING: |BUG: |Oops|Call Trace|INFO: (rcu|task)|INFO: possible|UBSAN|KASAN|refcount_t:'
no_complaint() {
	_leaks=$(leaks | head -n 60)
	[ -z "$_leaks" ] || {
		echo "$_leaks" | text
		return 1
	}
	_complaint=$(all_log | grep -E "$COMPLAINT")
	[ -z "$_complaint" ] && return 0
	all_log | grep -E -A 20 "$COMPLAINT" | head -n 60 | text
	return 1
}

# --- live patches --------------------------------------------------------------------------------

attribute_is() { # PATCH ATTRIBUTE VALUE
	[ "$(cat "$KLP/$1/$2" 2>/dev/null)" = "$3" ]
}

settled() { # PATCH: its transition is over
	attribute_is "$1" transition 0
}

gone() { # PATCH: disabled, and out of sysfs
	[ ! -e "$KLP/$1" ]
}

unused() { # MODULE: nothing holds it
	[ "$(cat "/sys/module/$1/refcnt" 2>/dev/null)" = 0 ]
}

loaded() { # MODULE
	grep -q "^$1 " /proc/modules
}

# Every file below a directory with its value; one that cannot be read has none.
tree() { # DIRECTORY
	(cd "$1" && find . -mindepth 1 | sort) | while read -r _path; do
		_path=${_path#./}
		if [ -d "$1/$_path" ]; then
			echo "$_path/"
		elif [ -r "$1/$_path" ] && _value=$(cat "$1/$_path" 2>/dev/null); then
			echo "$_path = $_value"
		else
			echo "$_path"
		fi
	done
}

# --- which core ----------------------------------------------------------------------------------

# Functions of the C core that are static or internal to it: no module refers to them, so another
# core has no reason to have them.
C_ONLY="klp_match_callback klp_find_callback klp_find_object_symbol klp_resolve_symbols
	klp_init_object_loaded klp_unpatch_func klp_find_ops klp_complete_transition
	klp_check_and_switch_task klp_discard_nops"

rust_symbols() { # the names that rustc gave to what is in our crate
	awk '$3 ~ /^_R.*livepatch/ && NF == 3 { print $3 }' /proc/kallsyms
}

c_only_symbols() { # which of C_ONLY this kernel has
	awk -v names="$C_ONLY" 'BEGIN { split(names, list); for (i in list) wanted[list[i]] }
		NF == 3 && $3 in wanted { print $3; delete wanted[$3] }' /proc/kallsyms
}

running_core() { # rust, c, or what makes it neither
	_rust=$(rust_symbols | wc -l)
	_c=$(c_only_symbols | wc -l)
	if [ "$_rust" -gt 0 ] && [ "$_c" -eq 0 ]; then
		echo rust
	elif [ "$_rust" -eq 0 ] && [ "$_c" -gt 0 ]; then
		echo c
	else
		echo "unclear: $_rust Rust symbols, $_c of the C core"
	fi
}

show_core() {
	say "Linux $(uname -r) on $(uname -m), $(grep -c ^processor /proc/cpuinfo) CPUs"
	say "in the kernel log:  $(dmesg | grep -m1 'livepatch: .*core' || echo '(the C core announces nothing)')"
	say "in /proc/kallsyms:  $(rust_symbols | wc -l) symbols of the Rust core," \
		"$(c_only_symbols | wc -l) of $(echo "$C_ONLY" | wc -w) functions that only the C core has"
	rust_symbols | awk 'length < 90 && ++n <= 3 { print "                    " $0 }' | text
}
