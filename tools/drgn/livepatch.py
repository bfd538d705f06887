#!/usr/bin/env drgn
# SPDX-License-Identifier: GPL-2.0
"""Prints a kernel's live patches, and the tasks that a transition waits for.

    drgn livepatch.py [--stacks]                    the running kernel
    drgn -c CORE -s vmlinux livepatch.py            a dump of a kernel
    drgn --qemu SOCKET -s vmlinux livepatch.py      a machine of QEMU, by its QMP socket

It reads what both cores keep in the same places: the list klp_patches, the pointer
klp_transition_patch, the structures of <linux/livepatch.h>, and task->patch_state. The names of
functions in modules take the modules' own debug information (drgn -s MODULE.ko).
"""

import argparse
import sys
from collections import namedtuple
from itertools import takewhile

from drgn import Architecture, FaultError, Object
from drgn.helpers.linux.cpumask import for_each_online_cpu
from drgn.helpers.linux.list import list_for_each_entry
from drgn.helpers.linux.pid import for_each_task
from drgn.helpers.linux.sched import idle_task, task_cpu

# A replaced function, and where the code is that a task has to leave.
Function = namedtuple("Function", ["name", "object", "start", "size"])


def text(pointer, otherwise=""):
    """Returns a C string, or what stands for a null pointer."""
    return pointer.string_().decode(errors="replace") if pointer else otherwise


def patches(prog):
    """Yields each `struct klp_patch *`, in the order of the stack."""
    # The Rust core's own debug information calls the type by another name, so that only the address
    # is taken from there.
    head = Object(prog, "struct list_head", address=prog.symbol("klp_patches").address)
    return list_for_each_entry("struct klp_patch", head.address_of_(), "list")


def transition(prog):
    """Returns the patch in transition, or a null pointer."""
    address = prog.symbol("klp_transition_patch").address
    return Object(prog, "struct klp_patch *", address=address).read_()


def objects(patch):
    """Yields each `struct klp_object` that a patch declares."""
    i = 0
    while patch.objs[i].funcs or patch.objs[i].name:
        yield patch.objs[i]
        i += 1


def functions(obj):
    """Yields each `struct klp_func` that an object declares."""
    i = 0
    while obj.funcs[i].old_name or obj.funcs[i].new_func or obj.funcs[i].old_sympos:
        yield obj.funcs[i]
        i += 1


def to_leave(patch):
    """Returns the functions that a task must not be inside for it to move."""
    found = []
    for obj in objects(patch):
        for func in functions(obj):
            code, size = (func.old_func, func.old_size) if patch.enabled else (func.new_func, func.new_size)
            if code:
                found.append(Function(text(func.old_name), text(obj.name, "vmlinux"), code.value_(), size.value_()))
    return found


def tasks(prog):
    """Yields every task, the idle ones too."""
    yield from for_each_task(prog)
    for cpu in for_each_online_cpu(prog):
        yield idle_task(prog, cpu)


def blockers(prog, patch):
    """Yields the tasks that have not moved."""
    target = 1 if patch.enabled else 0
    for task in tasks(prog):
        state = task.patch_state.value_()
        if state >= 0 and state != target:
            yield task


def stack_of(prog, task):
    """Returns the frames of a task in the kernel, or an empty list if it has none that can be read."""
    try:
        frames = prog.stack_trace(task)
    except (FaultError, LookupError, ValueError):
        return []
    return list(takewhile(lambda frame: in_kernel(prog, frame.pc), frames))


def in_kernel(prog, address):
    """Whether an address may be the kernel's. On s390, both it and programs begin at 0."""
    return prog.platform.arch == Architecture.S390X or address >> 63 == 1


def reason(task, frames, inside):
    """Says what keeps a task from moving, as far as its stack tells."""
    for frame in frames:
        for func in inside:
            if func.start <= frame.pc < func.start + func.size:
                where = f"{func.name} [{func.object}]"
                return f"{'runs' if task.on_cpu else 'sleeps'} in {where}"
    if task.on_cpu:
        return f"runs on CPU {task_cpu(task)}"
    return "sleeps in none of the functions: its stack can't be trusted, or it has not been tried"


def describe(patch, in_transition):
    """Returns a line about a patch."""
    if in_transition:
        state = "patching" if patch.enabled else "unpatching"
    else:
        state = "enabled" if patch.enabled else "disabled"
    replace = ", replaces all others" if patch.replace else ""
    number = sum(1 for obj in objects(patch) for _ in functions(obj))
    names = ", ".join(text(obj.name, "vmlinux") for obj in objects(patch))
    plural = "" if number == 1 else "s"
    return f"{text(patch.mod.name)}: {state}{replace}; {number} function{plural} of {names}"


def report(prog, stacks):
    """Prints everything."""
    current = transition(prog)
    found = 0
    for patch in patches(prog):
        found += 1
        print(describe(patch, bool(current) and patch == current))
    if not found:
        print("No live patch is loaded.")
    if not current:
        print("No transition is going on.")
        return
    inside = to_leave(current)
    waiting = list(blockers(prog, current))
    plural = "" if len(waiting) == 1 else "s"
    print(f"The transition of {text(current.mod.name)} waits for {len(waiting)} task{plural}:")
    for task in waiting:
        frames = stack_of(prog, task)
        name = task.comm.string_().decode(errors="replace")
        print(f"  {name} ({task.pid.value_()}): {reason(task, frames, inside)}")
        if stacks:
            for frame in frames:
                print(f"    {frame.name or hex(frame.pc)}")


def main(prog):
    """Reads the command line, and prints the report."""
    parser = argparse.ArgumentParser(
        prog="livepatch.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--stacks", action="store_true", help="print the stack of each task")
    args = parser.parse_args()
    try:
        report(prog, args.stacks)
    except LookupError as error:
        sys.exit(
            f"livepatch.py: this kernel's data is not known: {error}\n"
            "next: give the kernel's vmlinux with its debug information: drgn -s vmlinux"
        )


if __name__ == "__main__":
    from drgn import get_default_prog

    main(get_default_prog())
