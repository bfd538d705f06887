// SPDX-License-Identifier: GPL-2.0
//! The orderings in C.

use crate::commands::verify::litmus::orderings::list::Orderings;

/// Names that order something, beside those that [`orders`] tells by their form.
const NAMES: &[&str] = &[
    "OPTIMIZER_HIDE_VAR",
    "barrier",
    "ftrace_test_recursion_trylock",
    "kick_all_cpus_sync",
    "read_lock",
    "schedule_on_each_cpu",
    "spin_lock",
    "task_call_func",
    "write_lock",
];

/// Names whose kind includes what is accessed. A function may have several of them.
const ACCESSES: &[&str] = &[
    "READ_ONCE",
    "WRITE_ONCE",
    "smp_load",
    "smp_store",
    "cmpxchg",
    "xchg",
];

/// Adds the orderings and the functions of a file.
pub fn find(found: &mut Orderings, name: &str, text: &str) {
    let text = without_comments(text);
    let mut function = String::new();
    for (index, line) in text.lines().enumerate() {
        if let Some(next) = begins(line) {
            function = next.to_owned();
            found.function(next);
        }
        let at = format!("{name}:{}", index + 1);
        for (callee, arguments) in calls(line) {
            if orders(callee) && callee != function {
                found.found(&function, &kind(callee, arguments), at.clone());
            }
        }
    }
}

/// Returns the name of the function or macro that begins with this line. Those begin in the first
/// column, and do not end there.
fn begins(line: &str) -> Option<&str> {
    let macro_name = line.strip_prefix("#define ");
    let start = macro_name.unwrap_or(line);
    if !start.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        || (macro_name.is_none() && line.ends_with(';'))
    {
        return None;
    }
    let (before, _) = start.split_once('(')?;
    let name = before.rsplit(|c: char| !is_part_of_name(c)).next()?;
    (!name.is_empty()).then_some(name)
}

/// Whether a call of this name orders something. What undoes another call does not count.
fn orders(name: &str) -> bool {
    let form = name.starts_with("smp_")
        || ["READ_ONCE", "WRITE_ONCE"].contains(&name)
        || ["_acquire", "_release", "_rcu"]
            .iter()
            .any(|end| name.ends_with(end))
        || [
            "rcu_",
            "synchronize_",
            "atomic_",
            "preempt_disable",
            "test_and_",
        ]
        .iter()
        .any(|start| name.starts_with(start))
        || name.contains("xchg")
        || NAMES.contains(&name);
    form && !name.contains("unlock") && name != "smp_processor_id"
}

/// Returns the kind of an ordering.
fn kind(callee: &str, arguments: &str) -> String {
    if ACCESSES.iter().any(|access| callee.starts_with(access)) {
        let end = arguments
            .char_indices()
            .scan(0usize, |depth, (index, c)| {
                match c {
                    '(' => *depth += 1,
                    ')' if *depth == 0 => return Some((index, true)),
                    ')' => *depth -= 1,
                    _ => {}
                }
                Some((index, c == ',' && *depth == 0))
            })
            .find_map(|(index, ends)| ends.then_some(index));
        let first = end.map_or(arguments, |end| &arguments[..end]);
        return format!("{callee}({first})");
    }
    callee.to_owned()
}

/// Returns the calls in a line, each with the text after its parenthesis.
fn calls(line: &str) -> impl Iterator<Item = (&str, &str)> {
    line.match_indices('(').filter_map(move |(index, _)| {
        let before = &line[..index];
        let name = before.rsplit(|c: char| !is_part_of_name(c)).next()?;
        (!name.is_empty()).then_some((name, &line[index + 1..]))
    })
}

fn is_part_of_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// Blanks out the comments, and keeps the lines.
fn without_comments(text: &str) -> String {
    let (mut code, mut rest) = (String::new(), text);
    while let Some((before, comment)) = rest.split_once("/*") {
        code.push_str(before);
        let (comment, after) = comment.split_once("*/").unwrap_or((comment, ""));
        code.extend(comment.chars().filter(|&c| c == '\n'));
        rest = after;
    }
    code.push_str(rest);
    code
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orderings_are_found_with_function_and_line() {
        let mut found = Orderings::default();
        let text = "\
/* READ_ONCE(comment)
 */
#define follow(next) \\
	rcu_dereference_raw_check(next)

static DEFINE_PER_CPU(int, x);

int *first(int *x)
{
	smp_store_release(&x->a[f(1)], 2); /* smp_mb() */
	return READ_ONCE(x->b) + smp_processor_id();
}

void second(int a,
	    int b)
{
	rcu_read_lock();
	rcu_read_unlock();
}
";
        find(&mut found, "x.c", text);
        let places: Vec<_> = found.places.iter().collect();
        let expected = [
            ("first()", "READ_ONCE(x->b)", "x.c:11"),
            ("first()", "smp_store_release(&x->a[f(1)])", "x.c:10"),
            ("follow()", "rcu_dereference_raw_check", "x.c:4"),
            ("second()", "rcu_read_lock", "x.c:17"),
        ];
        assert_eq!(places.len(), expected.len(), "{places:?}");
        for ((key, at), (function, kind, place)) in places.into_iter().zip(expected) {
            assert_eq!((key.0.as_str(), key.1.as_str()), (function, kind));
            assert_eq!(at, &[place]);
        }
        let functions: Vec<_> = found.functions.iter().collect();
        assert_eq!(functions, ["first()", "follow()", "second()"]);
    }
}
