// SPDX-License-Identifier: GPL-2.0
//! Reads KTAP, the kernel's test protocol, line by line as a guest prints it.
//!
//! A guest's output can end anywhere, and kernel messages may come in between. So the reader takes
//! the lines it recognizes and passes the others on. Only at the end it checks whether the plan was
//! kept.
//!
//! Beyond the protocol, two kinds of comment in our guest scripts' output have a meaning:
//!
//! | line | meaning |
//! |---|---|
//! | `# == text` | a heading |
//! | `# \| text` | a line for people to read |

use std::{mem, slice};

/// How one test ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It passed.
    Pass,
    /// It failed.
    Fail,
    /// It could not run. Contains the reason, as far as the guest gave one.
    Skip(String),
}

/// One result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    /// What was tested.
    pub name: String,
    /// How it ended.
    pub verdict: Verdict,
    /// How many subtests it had, and how many of them failed.
    pub subtests: (usize, usize),
    /// The lines for people to read that came before the result. Those of failed subtests come
    /// first.
    pub told: Vec<String>,
}

/// The meaning of one line.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// A heading.
    Heading(&'a str),
    /// A line for people to read.
    Text(&'a str),
    /// A result.
    Case(Case),
    /// A result of a subtest of the next case.
    Subtest(Case),
    /// Anything else.
    Other,
}

/// A reader of one KTAP stream.
#[derive(Debug, Default)]
pub struct Reader {
    plan: Option<usize>,
    cases: Vec<Case>,
    subtest_plan: Option<usize>,
    subtests: Vec<Case>,
    told: Vec<String>,
    problems: Vec<String>,
    bailed_out: bool,
}

/// The result of a whole stream.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The results, in order.
    pub cases: Vec<Case>,
    /// Problems of the stream itself. Each counts as a failure, because a test that was announced
    /// and never reported has not passed.
    pub problems: Vec<String>,
}

impl Reader {
    /// Takes one line.
    pub fn line<'a>(&mut self, line: &'a str) -> Event<'a> {
        let trimmed = line.trim();
        let nested = line.starts_with([' ', '\t']);
        if let Some(comment) = trimmed.strip_prefix('#') {
            let event = comment_event(comment);
            if let Event::Text(text) = event {
                self.told.push(text.to_owned());
            }
            return event;
        }
        if let Some(reason) = trimmed.strip_prefix("Bail out!") {
            self.bail_out(reason.trim());
            return Event::Other;
        }
        if let Some(plan) = parse_plan(trimmed) {
            self.announce(plan, nested);
            return Event::Other;
        }
        match parse_result(trimmed) {
            Some((_, mut case)) if nested => {
                case.told = mem::take(&mut self.told);
                self.subtests.push(case.clone());
                Event::Subtest(case)
            }
            Some((number, case)) => Event::Case(self.result(number, case)),
            None => Event::Other,
        }
    }

    /// Ends the stream. `whole` is whether its writer got to the end. If it did not, the report
    /// says so where results are missing.
    pub fn finish(mut self, whole: bool) -> Report {
        let seen = self.cases.len();
        match self.plan {
            None | Some(0) if seen == 0 => self.problem("no test was run".into()),
            None => self.problem("there is no plan: tests may be missing".into()),
            Some(plan) if plan != seen && !self.bailed_out => {
                let cut = if whole { "" } else { ", then the output ends" };
                self.problem(format!("{plan} tests planned, {seen} reported{cut}"));
            }
            Some(_) => {}
        }
        if !self.subtests.is_empty() {
            let last = &self.subtests[self.subtests.len() - 1].name;
            let text = format!("a test ended without a result, after its subtest `{last}`");
            self.problem(text);
        }
        Report {
            cases: self.cases,
            problems: self.problems,
        }
    }

    fn announce(&mut self, plan: usize, nested: bool) {
        let place = if nested {
            &mut self.subtest_plan
        } else {
            &mut self.plan
        };
        if place.replace(plan).is_some() {
            self.problem("there is more than one plan".into());
        }
    }

    fn bail_out(&mut self, reason: &str) {
        self.bailed_out = true;
        self.problem(format!(
            "bailed out: {}",
            if reason.is_empty() {
                "no reason"
            } else {
                reason
            }
        ));
    }

    /// Takes a result of the outer level. The subtests since the previous result belong to it.
    fn result(&mut self, number: Option<usize>, mut case: Case) -> Case {
        let expected = self.cases.len() + 1;
        if let Some(number) = number.filter(|&number| number != expected) {
            self.problem(format!(
                "test {expected} is missing: `{}` has number {number}",
                case.name
            ));
        }
        let failed = self
            .subtests
            .iter()
            .filter(|case| case.verdict == Verdict::Fail)
            .count();
        case.subtests = (self.subtests.len(), failed);
        let planned = self.subtest_plan.take();
        if planned.is_some_and(|planned| planned != self.subtests.len()) || failed > 0 {
            if case.verdict == Verdict::Pass {
                self.problem(format!(
                    "`{}` passed although its subtests did not",
                    case.name
                ));
            }
            case.verdict = Verdict::Fail;
        }
        for subtest in self.subtests.drain(..) {
            if subtest.verdict == Verdict::Fail {
                case.told.push(format!("{}:", subtest.name));
                case.told.extend(subtest.told);
            }
        }
        case.told.append(&mut self.told);
        self.cases.push(case.clone());
        case
    }

    fn problem(&mut self, text: String) {
        self.problems.push(text);
    }
}

impl Report {
    /// Returns how many tests passed.
    pub fn passed(&self) -> usize {
        self.count(|verdict| *verdict == Verdict::Pass)
    }

    /// Returns how many tests were skipped.
    pub fn skipped(&self) -> usize {
        self.count(|verdict| matches!(verdict, Verdict::Skip(_)))
    }

    fn count(&self, which: fn(&Verdict) -> bool) -> usize {
        let cases = self.cases.iter();
        cases.filter(|case| which(&case.verdict)).count()
    }

    /// Returns how many tests failed, including problems of the stream.
    pub fn failed(&self) -> usize {
        self.failures().count()
    }

    /// Returns the failures, each with the lines that explain it.
    pub fn failures(&self) -> impl Iterator<Item = String> + '_ {
        let cases = self.cases.iter();
        let cases = cases.filter(|case| case.verdict == Verdict::Fail);
        let cases = cases.map(|case| {
            [slice::from_ref(&case.name), &case.told]
                .concat()
                .join("\n")
        });
        cases.chain(self.problems.iter().cloned())
    }
}

fn comment_event(comment: &str) -> Event<'_> {
    if let Some(heading) = comment.strip_prefix(" == ") {
        Event::Heading(heading)
    } else if let Some(text) = comment.strip_prefix(" | ") {
        Event::Text(text)
    } else if comment == " |" {
        Event::Text("")
    } else {
        Event::Other
    }
}

fn parse_plan(line: &str) -> Option<usize> {
    let count = line.strip_prefix("1..")?;
    count.split([' ', '#']).next()?.parse().ok()
}

/// Parses a line like `ok 3 - name # SKIP why`. Everything after the verdict may be missing.
fn parse_result(line: &str) -> Option<(Option<usize>, Case)> {
    let (pass, rest) = match line.strip_prefix("not ok") {
        Some(rest) => (false, rest),
        None => (true, line.strip_prefix("ok")?),
    };
    if !rest.is_empty() && !rest.starts_with(' ') {
        return None;
    }
    let rest = rest.trim_start();
    let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, rest) = rest.split_at(digits);
    let rest = rest.trim_start().trim_start_matches("- ");
    let (name, directive) = match rest.rsplit_once(" # ") {
        Some((name, directive)) => (name, directive),
        None => (rest, ""),
    };
    let verdict = match directive.strip_prefix("SKIP") {
        Some(why) => Verdict::Skip(why.trim().to_owned()),
        None if pass => Verdict::Pass,
        None => Verdict::Fail,
    };
    let case = Case {
        name: name.trim().to_owned(),
        verdict,
        subtests: (0, 0),
        told: Vec::new(),
    };
    Some((number.parse().ok(), case))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, whole: bool) -> Report {
        let mut reader = Reader::default();
        for line in text.lines() {
            reader.line(line);
        }
        reader.finish(whole)
    }

    #[test]
    fn a_whole_stream() {
        let report = read(
            "KTAP version 1\n1..3\nok 1 - a\nnot ok 2 - b\nok 3 - c # SKIP no d\n",
            true,
        );
        assert_eq!(
            (report.passed(), report.failed(), report.skipped()),
            (1, 1, 1)
        );
        assert_eq!(report.cases[2].verdict, Verdict::Skip("no d".into()));
        assert!(report.problems.is_empty());
    }

    #[test]
    fn a_plan_may_come_last() {
        let report = read("ok 1 a\nok 2 b\n1..2\n", true);
        assert_eq!((report.passed(), report.failed()), (2, 0));
    }

    #[test]
    fn nothing_at_all_is_a_failure() {
        assert_eq!(read("", true).failed(), 1);
        assert_eq!(read("1..0 # SKIP all of it\n", true).failed(), 1);
    }

    #[test]
    fn a_missing_plan_is_a_failure() {
        let report = read("ok 1 - a\n", true);
        assert_eq!((report.passed(), report.failed()), (1, 1));
    }

    #[test]
    fn truncated_output_is_a_failure_that_says_so() {
        let report = read("1..3\nok 1 - a\nok 2 - b\n", false);
        assert_eq!(report.failed(), 1);
        assert!(report.problems[0].contains("3 tests planned, 2 reported, then the output ends"));
    }

    #[test]
    fn a_cut_line_is_no_result() {
        assert_eq!(read("1..2\nok 1 - a\nno", false).cases.len(), 1);
        assert_eq!(read("1..1\nokay then\nnot okay\n", true).cases.len(), 0);
    }

    #[test]
    fn a_missing_number_is_a_failure() {
        let report = read("1..2\nok 1 - a\nok 3 - c\n", true);
        assert!(
            report.problems[0].contains("test 2 is missing"),
            "{:?}",
            report.problems
        );
    }

    #[test]
    fn bailing_out_is_a_failure_with_its_reason() {
        let report = read("1..9\nok 1 - a\nBail out! no disk\n", true);
        assert_eq!(report.problems, ["bailed out: no disk"]);
    }

    #[test]
    fn more_results_than_planned_is_a_failure() {
        assert_eq!(read("1..1\nok 1 a\nok 2 b\n", true).failed(), 1);
    }

    #[test]
    fn subtests_belong_to_the_next_result() {
        let text = "1..2\n    ok 1 - x\n    ok 2 - y\n    1..2\nok 1 - a\n    not ok 1 - z\n    1..1\nnot ok 2 - b\n";
        let report = read(text, true);
        assert_eq!(report.cases[0].subtests, (2, 0));
        assert_eq!(report.cases[1].subtests, (1, 1));
        assert_eq!((report.passed(), report.failed()), (1, 1));
    }

    #[test]
    fn a_failed_subtest_is_never_covered_up() {
        let report = read("1..1\n    not ok 1 - x\nok 1 - a\n", true);
        assert_eq!(report.passed(), 0);
    }

    #[test]
    fn missing_subtests_fail_their_test() {
        let report = read("1..1\n    1..2\n    ok 1 - x\nok 1 - a\n", true);
        assert_eq!(report.passed(), 0);
    }

    #[test]
    fn a_test_cut_off_in_its_subtests_is_named() {
        let report = read("1..1\n    ok 1 - x\n", false);
        assert!(
            report
                .problems
                .iter()
                .any(|text| text.contains("subtest `x`")),
            "{report:?}"
        );
    }

    #[test]
    fn a_failure_is_explained_by_what_was_told_before_it() {
        let text = "1..3\n# | of a\nok 1 - a\n    # | of x\n    ok 1 - x\n    # | of y\n    not ok 2 - y\n\
                    # | of b\nnot ok 2 - b\nnot ok 3 - c\n";
        let failures: Vec<String> = read(text, true).failures().collect();
        assert_eq!(failures, ["b\ny:\nof y\nof b", "c"]);
    }

    #[test]
    fn comments_that_we_give_a_meaning() {
        let mut reader = Reader::default();
        assert_eq!(reader.line("# == Before"), Event::Heading("Before"));
        assert_eq!(reader.line("# | $ cat"), Event::Text("$ cat"));
        assert_eq!(reader.line("    # | inner"), Event::Text("inner"));
        assert_eq!(reader.line("# anything"), Event::Other);
        assert_eq!(reader.line("[    0.1] ok then"), Event::Other);
    }
}
