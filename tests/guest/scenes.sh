# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh disable=SC2034
# Tasks that hold a transition up, by the modules of the suite `transitions`.

SCENES=/transitions
TARGET=transitions_target
PATCH=transitions_patch

param() { # NAME [VALUE]
	if [ $# -gt 1 ]; then
		echo "$2" >"/sys/module/$TARGET/parameters/$1"
	else
		cat "/sys/module/$TARGET/parameters/$1"
	fi
}

# A task of its own that falls asleep. Sets `napper` to its PID.
nap() { # LETTER
	param wake 0
	sh -c "echo $1 >/proc/transitions" &
	napper=$!
	wait_until napping "$napper"
}

# It sleeps where it is told to. A shell that has not got that far is not in the function yet.
napping() { # PID
	grep -q -e transitions_nap -e transitions_sleep "/proc/$1/stack" 2>/dev/null
}

wake() {
	param wake 1
	wait "$napper"
}

load() { insmod "$SCENES/$PATCH.ko"; }

unload() {
	[ ! -e "$KLP/$PATCH" ] || echo 0 >"$KLP/$PATCH/enabled"
	wait_until gone $PATCH && wait_until unused $PATCH && rmmod $PATCH
}
