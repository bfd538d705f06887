# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
# The kinds of neighbours: how each joins and leaves a function, and what it has seen.
#
# join KIND SITE, leave KIND: say what is refused, if something is.
# forget KIND: all that it has seen so far; seen KIND SITE: what it has seen since.
# hits KIND none|one: how that reads when it has seen no call, or one.
# lacks KIND: why there is none of it here, if so.

DIR=/neighbours
TRACING=/sys/kernel/tracing
TARGET=neighbours_target
PROBE=neighbours_probe
FUNCTION=neighbours_function
PLACE=neighbours_place
BYSTANDER=neighbours_bystander
REPLACEMENT=neighbours_replacement

# What a write says if it fails; nothing if it does not.
error_of() { # VALUE FILE
	_said=$(sh -c "echo '$1' >$2" 2>&1) || echo "${_said##*: }"
}

# --- tracers -------------------------------------------------------------------------------------

join_tracer() { # TRACER SITE
	_error=$(error_of "$2" $TRACING/set_ftrace_filter)
	# Without a filter it would trace everything.
	[ -n "$_error" ] || _error=$(error_of "$1" $TRACING/current_tracer)
	[ -z "$_error" ] || echo "$_error"
}

leave_tracer() {
	error_of nop $TRACING/current_tracer
	error_of "" $TRACING/set_ftrace_filter
}

# --- kprobes -------------------------------------------------------------------------------------

# How often both handlers of each kprobe ran.
probe_hits() {
	cat /sys/module/$PROBE/parameters/plain /sys/module/$PROBE/parameters/post
}

# The same, less what is forgotten.
new_probe_hits() {
	# shellcheck disable=SC2046,SC2086 # four numbers each
	set -- $(probe_hits) $forgotten
	echo "$(($1 - $5)),$(($2 - $6)) $(($3 - $7)),$(($4 - $8))"
}

plain() { # SITE, or nothing to leave
	error_of "$1" /sys/module/$PROBE/parameters/plain
}

post() { # SITE, or nothing to leave
	error_of "$1" /sys/module/$PROBE/parameters/post
}

# A kprobe that is refused lacks nothing: the cases are to tell.
lacks_probes() {
	insmod $DIR/$TARGET.ko
	insmod $DIR/$PROBE.ko
	plain $FUNCTION
	grep "$FUNCTION" /sys/kernel/debug/kprobes/list | grep -qvF "[FTRACE]" && echo "no kprobes on ftrace"
	plain ""
	rmmod $PROBE
	rmmod $TARGET
}

# --- BPF -----------------------------------------------------------------------------------------

# A program of ours holds on to the BPF program; that is attached for as long as ours runs.
join_bpf() { # fentry|fexit|fmod_ret MODULE FUNCTION [MODULE FUNCTION]...
	_kind=$1
	shift
	rm -f /tmp/requests /tmp/replies
	mkfifo /tmp/requests /tmp/replies
	$DIR/bpf "$_kind" /tmp/requests /tmp/replies "$@" >/dev/null 2>&1 &
	cat /tmp/replies
}

module_of() { # SITE
	if [ "$1" = $REPLACEMENT ]; then echo $PATCH; else echo $TARGET; fi
}

ask_bpf() { # REQUEST
	pidof bpf >/dev/null || return
	echo "$1" >/tmp/requests
	cat /tmp/replies
}

count_bpf() {
	_count=$(ask_bpf count)
	echo "${_count:-0}"
}

leave_bpf() {
	ask_bpf leave
	wait_until no_bpf || echo "it does not leave"
}

no_bpf() { ! pidof bpf >/dev/null; }

# --- all of them ---------------------------------------------------------------------------------

join() { # KIND SITE
	case $1 in
	function-tracer) join_tracer function "$2" ;;
	graph-tracer) join_tracer function_graph "$2" ;;
	kprobe) plain "$2" ;;
	kprobe-with-post-handler) post "$2" ;;
	fentry | fexit | fmod_ret) join_bpf "$1" "$(module_of "$2")" "$2" ;;
	esac
}

leave() { # KIND
	case $1 in
	*-tracer) leave_tracer ;;
	kprobe) plain "" ;;
	kprobe-with-post-handler) post "" ;;
	fentry | fexit | fmod_ret) leave_bpf ;;
	esac
}

forget() { # KIND
	case $1 in
	*-tracer) echo >$TRACING/trace ;;
	*kprobe*) forgotten=$(probe_hits) ;;
	fentry | fexit) forgotten=$(count_bpf) ;;
	esac
}

seen() { # KIND SITE
	case $1 in
	function-tracer) grep -c " $2 .*<-" $TRACING/trace ;;
	# One line for a call, or two if anything comes between it and its return, such as another CPU.
	graph-tracer) grep -c " $2.*() *[;{]" $TRACING/trace ;;
	*kprobe*) new_probe_hits ;;
	fentry | fexit) echo $(($(count_bpf) - forgotten)) ;;
	esac
}

hits() { # KIND none|one
	case $2-$1 in
	none-*kprobe*) echo "0,0 0,0" ;;
	one-kprobe) echo "1,0 0,0" ;;
	one-kprobe-with-*) echo "0,0 1,1" ;;
	one-both-kprobes) echo "1,0 1,1" ;;
	none-*) echo 0 ;;
	one-*) echo 1 ;;
	esac
}

lacks() { # KIND
	case $1 in
	kprobe*) lacks_probes ;;
	fentry | fexit | fmod_ret) [ -e /sys/kernel/btf/vmlinux ] || echo "no type information of the kernel" ;;
	esac
}
