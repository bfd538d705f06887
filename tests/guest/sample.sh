# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh disable=SC2034
# One live patch from start to finish, with upstream's own sample. Shared by `demo`, which people
# read, and `smoke`, which asserts the same and more.

SAMPLE=livepatch_sample
SAMPLE_STEPS=12

sample_steps() {
	log_mark

	heading "The kernel, and the livepatch core inside it"
	show_core
	check_equal "the livepatch core is the one asked for: ${core:-rust}" "${core:-rust}" "$(running_core)"

	heading "Before"
	before=$(cat /proc/cmdline)
	show cat /proc/cmdline
	check "/proc/cmdline is the kernel's own" test -n "$before"

	heading "Patch the running kernel"
	show insmod "$MODULES"/livepatch-sample.ko
	check "the live patch loads" loaded $SAMPLE
	check "every task moves over to it" wait_until settled $SAMPLE
	show cat /proc/cmdline
	check_equal "/proc/cmdline comes from the new function" \
		"this has been live patched" "$(cat /proc/cmdline)"

	heading "What $KLP/$SAMPLE says meanwhile"
	tree "$KLP/$SAMPLE" | text
	check_equal "sysfs shows the patch, its object and its function" "enabled = 1
force
replace = 0
stack_order = 1
transition = 0
vmlinux/
vmlinux/cmdline_proc_show,1/
vmlinux/patched = 1" "$(tree "$KLP/$SAMPLE" | grep -v -e ^gear -e ^deadline)"
	check "the patch's module is held while it is in use" in_use $SAMPLE

	heading "Take it back"
	say "\$ echo 0 > $KLP/$SAMPLE/enabled"
	check "disabling is accepted" disable $SAMPLE
	check "every task moves back" wait_until gone $SAMPLE
	show cat /proc/cmdline
	check_equal "/proc/cmdline is the kernel's own again" "$before" "$(cat /proc/cmdline)"
	wait_until unused $SAMPLE
	show rmmod $SAMPLE
	check "the patch's module unloads" test ! -e /sys/module/$SAMPLE

	heading "What the kernel logged"
	livepatch_log | text
	check_equal "the log tells the same story" "livepatch: enabling patch '$SAMPLE'
livepatch: '$SAMPLE': starting patching transition
livepatch: '$SAMPLE': patching complete
livepatch: '$SAMPLE': starting unpatching transition
livepatch: '$SAMPLE': unpatching complete" "$(livepatch_log)"
}

in_use() { ! unused "$1"; }
disable() { echo 0 >"$KLP/$1/enabled"; }

retire() { # PATCH: disable it and unload its module
	[ ! -e "$KLP/$1" ] || disable "$1"
	wait_until gone "$1" && wait_until unused "$1" && rmmod "$1"
}

# --- its gear --------------------------------------------------------------------------------------

GEAR=$KLP/$SAMPLE/gear
SITE=cmdline_proc_show

# Whether calls of the patched function go straight to its replacement.
site() {
	sed -n "/^$SITE /,/^[^\t]/p" /sys/kernel/tracing/enabled_functions | grep -q -e "settled-->" &&
		echo settled || echo handler
}

is_in_gear() { # GEAR: both say so, and the patch is in effect
	_gear="$(cat "$GEAR"), $(site), $(cat /proc/cmdline)"
	[ "$_gear" = "$1, $1, this has been live patched" ] || { echo "$_gear"; false; }
}
