// SPDX-License-Identifier: GPL-2.0
/*
 * The live patch. It has the new version of each function of conformance_target except those that need
 * relocations, and of one function of the kernel.
 */
#include <linux/atomic.h>
#include <linux/bitops.h>
#include <linux/hex.h>
#include <linux/jump_label.h>
#include <linux/kernel.h>
#include <linux/livepatch.h>
#include <linux/module.h>
#include <linux/sched.h>
#include <linux/seq_file.h>
#include <linux/spinlock.h>
#include <linux/static_call.h>
#include <linux/uaccess.h>

#include "conformance.h"

#define VERSION PATCHED
#define LINKAGE static
#define FUNCTION(name) new_##name
#include "versions.h"

static u64 new_recurse(unsigned int depth, void *self)
{
	recurse_t inner = self;

	return depth ? step_of(PATCHED, inner(depth - 1, self), depth) : PATCHED;
}

/* Symbols that the kernel exports need no livepatch relocation. */
static int new_exported(void)
{
	int number;

	if (READ_ONCE(hex_asc[15]) != 'f')
		return -EFAULT;
	if (kstrtoint("-12345", 10, &number) || number != -12345)
		return -ENOEXEC;
	return PATCHED;
}

static int new_uptime(struct seq_file *m, void *v)
{
	seq_puts(m, "conformance\n");
	return 0;
}

/* --- code that the kernel rewrites --------------------------------------------------------------- */

static noinline int twice(int a)
{
	return 2 * a;
}

static noinline int thrice(int a)
{
	return 3 * a;
}

DEFINE_STATIC_CALL(conformance_times, twice);
/* All tasks share the key and the call. */
static DEFINE_MUTEX(lock);

static int new_static_call(void)
{
	int before, between, after;

	mutex_lock(&lock);
	before = static_call(conformance_times)(7);
	static_call_update(conformance_times, thrice);
	between = static_call(conformance_times)(7);
	static_call_update(conformance_times, twice);
	after = static_call(conformance_times)(7);
	mutex_unlock(&lock);
	return before == 14 && between == 21 && after == 14 ? PATCHED : -ENOEXEC;
}

static DEFINE_STATIC_KEY_FALSE(unlikely_key);
static DEFINE_STATIC_KEY_TRUE(likely_key);

static __always_inline int keys(void)
{
	int is = 0;

	if (static_branch_unlikely(&unlikely_key))
		is |= 1;
	if (static_branch_likely(&likely_key))
		is |= 2;
	return is;
}

static int new_jump_label(void)
{
	int before, between, after;

	mutex_lock(&lock);
	before = keys();
	static_branch_enable(&unlikely_key);
	static_branch_disable(&likely_key);
	between = keys();
	static_branch_disable(&unlikely_key);
	static_branch_enable(&likely_key);
	after = keys();
	mutex_unlock(&lock);
	return before == 2 && between == 1 && after == 2 ? PATCHED : -ENOEXEC;
}

static __always_inline int user_memory(char __user *buffer, const char text[8])
{
	int __user *number = (int __user *)buffer;
	char back[8];
	int got;

	if (!access_ok(buffer, 8) || __copy_to_user(buffer, text, 8) ||
	    __copy_from_user(back, buffer, 8) || memcmp(text, back, 8))
		return -EFAULT;
	if (!user_access_begin(number, sizeof(*number)))
		return -EFAULT;
	unsafe_put_user(0x1234567, number, fault);
	unsafe_get_user(got, number, fault);
	user_access_end();
	if (got != 0x1234567 || put_user(7, number) || get_user(got, number) || got != 7)
		return -EFAULT;
	return PATCHED;
fault:
	user_access_end();
	return -EFAULT;
}

/*
 * Ordinary code that architectures implement with alternatives, which are chosen when a module loads:
 *
 *	access to the user's memory   x86_64 (SMAP, the way to copy), arm64 (PAN), powerpc (KUAP, the barrier)
 *	atomics                       arm64 (LSE)
 *	the weight of a word          x86_64 (POPCNT)
 *	current, locks                s390 (where lowcore is, the hint for a spinlock)
 */
static int new_alternatives(char __user *buffer)
{
	static DEFINE_SPINLOCK(spin);
	static atomic_t count;
	static volatile u64 word = 0xf0f0000100000007;
	const char text[8] = "abcdefg";
	int ret = PATCHED;

	spin_lock(&spin);
	atomic_set(&count, 40);
	if (atomic_add_return(3, &count) != 43 || atomic_cmpxchg(&count, 43, 1) != 43 ||
	    atomic_fetch_or(6, &count) != 1 || atomic_xchg(&count, 0) != 7)
		ret = -ERANGE;
	spin_unlock(&spin);
	if (hweight64(word) != 12)
		ret = -EDOM;
	if (current->pid <= 0)
		ret = -ESRCH;
	return buffer && ret == PATCHED ? user_memory(buffer, text) : ret;
}

static int new_spin(const bool *on)
{
	/* Tasks that spin in the original reach this version only after their spin has ended. */
	return READ_ONCE(*on) ? -EBUSY : PATCHED;
}

static int new_hold(void (*body)(void *), void *data)
{
	body(data);
	barrier();
	return PATCHED;
}

/* --- the patch ----------------------------------------------------------------------------------- */

#define CHANGE(name) { .old_name = "conformance_" #name, .new_func = new_##name }

static struct klp_func target_funcs[] = {
	CHANGE(sum0),
	CHANGE(sum1),
	CHANGE(sum2),
	CHANGE(sum3),
	CHANGE(sum4),
	CHANGE(sum5),
	CHANGE(sum6),
	CHANGE(sum7),
	CHANGE(sum8),
	CHANGE(pair),
	CHANGE(make_pair),
	CHANGE(large),
	CHANGE(make_large),
	CHANGE(variadic),
	CHANGE(sibling),
	CHANGE(recurse),
	CHANGE(exported),
	CHANGE(static_call),
	CHANGE(jump_label),
	CHANGE(alternatives),
	CHANGE(hold),
	CHANGE(spin),
	{ }
};

static struct klp_func vmlinux_funcs[] = {
	{ .old_name = "uptime_proc_show", .new_func = new_uptime },
	{ }
};

static struct klp_object objs[] = {
	{ .name = "conformance_target", .funcs = target_funcs },
	{ .funcs = vmlinux_funcs },
	{ }
};

static struct klp_patch patch = {
	.mod = THIS_MODULE,
	.objs = objs,
};

static int __init conformance_patch_init(void)
{
	return klp_enable_patch(&patch);
}
module_init(conformance_patch_init);

static void __exit conformance_patch_exit(void)
{
}
module_exit(conformance_patch_exit);

MODULE_DESCRIPTION("Live patch for the conformance suite");
MODULE_LICENSE("GPL");
MODULE_INFO(livepatch, "Y");
