// SPDX-License-Identifier: GPL-2.0
//! Every command on a made-up system: what it answers, and what bad input gets.

mod made_up;

use klpctl::failure::Exit;
use made_up::{enable, module, write, MadeUp, FIX, RELEASE};
use rustix::io::Errno;
use std::fs;
use std::path::Path;
use std::thread;
use std::time::Duration;

const REPORT: &str = r#"patch: "fix"
transition: patching
seconds: 12.500
attempts: 18
signals: 8
moved: {attempt: 38, exit: 3, idle: 1, scheduler: 0, stopper: 0, force: 0, forks: 0}
left: 1
blockers:
  - {pid: 8, tid: 8, comm: "sh", kthread: false, reason: asleep, function: "f", object: "m"}
more: 0
last: null
"#;

fn gone(root: &Path, name: &str) {
    fs::remove_dir_all(root.join("sys/kernel/livepatch").join(name)).unwrap();
}

// --- status -----------------------------------------------------------------------------------------

#[test]
fn status_fits_on_one_screen_and_ends_with_what_to_do() {
    let own = MadeUp::new();
    let check = |exit, begins: &str| {
        let answer = own.run(&["status"]).unwrap();
        assert_eq!(answer.exit, exit, "{}", answer.text);
        assert!(answer.text.starts_with(begins), "{}", answer.text);
        let lines: Vec<_> = answer.text.lines().collect();
        assert!(lines.len() < 20);
        assert!(
            lines.last().unwrap().starts_with("next: "),
            "{}",
            answer.text
        );
    };
    check(Exit::Done, "No live patch is enabled.");
    own.patch("fix", "enabled");
    check(Exit::Done, "1 live patch is enabled: fix.");
    own.patch("fix", "patching");
    own.write("sys/kernel/debug/livepatch/fix", REPORT);
    check(
        Exit::Transition,
        "fix: patching for 12 s, 1 task left: sh (8) sleeps in f [m].",
    );
    own.write(
        "sys/kernel/debug/livepatch/fix",
        &REPORT.replace("12.5", "61.5"),
    );
    check(Exit::Stalled, "Stalled. fix: patching for 62 s");
}

#[test]
fn status_tells_of_a_refusal_until_something_succeeds() {
    let own = MadeUp::new();
    let refusal = "3,1,90000000,-;livepatch: failed to enable patch 'fix'\n";
    own.write("dev/kmsg", refusal);
    let text = own.text(&["status"]);
    assert!(
        text.contains("10 s ago: failed to enable patch 'fix'"),
        "{text}"
    );
    own.write(
        "dev/kmsg",
        &format!("{refusal}5,2,95000000,-;livepatch: 'fix': patching complete\n"),
    );
    assert!(!own.text(&["status"]).contains("failed"));
}

#[test]
fn a_kernel_without_live_patching_is_told_from_a_missing_sysfs() {
    let own = MadeUp::new();
    fs::remove_dir_all(own.path("sys/kernel/livepatch")).unwrap();
    let (exit, cause) = own.fails(&["status"]);
    assert_eq!(exit, Exit::NoLivePatching);
    assert!(cause.contains("no live patching"), "{cause}");
    fs::remove_dir_all(own.path("sys")).unwrap();
    for line in [
        ["load", "x.ko"],
        ["unload", "x"],
        ["force", "x"],
        ["wait", "x"],
    ] {
        let (exit, cause) = own.fails(&line);
        assert_eq!(
            (exit, cause.contains("sysfs")),
            (Exit::NoLivePatching, true)
        );
    }
}

// --- load -------------------------------------------------------------------------------------------

#[test]
fn load_loads_and_waits() {
    let own = MadeUp::new();
    let file = own.module("fix.ko", FIX);
    own.on_load(|root, _| {
        enable(root, "fix", "patching")?;
        let root = root.to_owned();
        thread::spawn(move || {
            thread::sleep(Duration::from_millis(100));
            enable(&root, "fix", "enabled").unwrap();
        });
        Ok(())
    });
    let answer = own.run(&["load", &file]).unwrap();
    assert!(
        answer
            .text
            .starts_with("fix: it is loaded, and every task uses it"),
        "{}",
        answer.text
    );
    assert!(answer.json["transition_seconds"].is_f64());
    // It has not returned before.
    assert_eq!(own.read("sys/kernel/livepatch/fix/transition"), "0\n");
    own.on_load(|_, _| panic!("it is loaded already"));
    let answer = own.run(&["load", &file]).unwrap();
    assert_eq!(answer.json["already"], true);
}

#[test]
fn a_compressed_module_is_loaded_like_a_plain_one() {
    let own = MadeUp::new();
    own.on_load(|root, bytes| {
        assert_eq!(bytes, module(FIX));
        enable(root, "fix", "enabled")
    });
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut gz, &module(FIX)).unwrap();
    let gz = gz.finish().unwrap();
    let file = own.file("fix.ko.gz", &gz);
    own.run(&["load", &file]).unwrap();
    let short = own.file("short.ko.gz", &gz[..gz.len() / 2]);
    let (exit, cause) = own.fails(&["load", &short]);
    assert_eq!(
        (exit, cause.contains("cut short")),
        (Exit::BadFile, true),
        "{cause}"
    );
}

#[test]
fn a_bad_file_is_named_with_its_cause_and_never_loaded() {
    let own = MadeUp::new();
    own.on_load(|_, _| panic!("it must not be loaded"));
    let whole = module(FIX);
    let other = FIX.iter().map(|field| field.replace("7.3.4", "6.1.0"));
    let other: Vec<_> = other.collect();
    let other: Vec<_> = other.iter().map(String::as_str).collect();
    own.write(
        "sys/kernel/notes",
        "\x04\0\0\0\x02\0\0\0\x03\0\0\0GNU\0ab\0\0",
    );
    for (file, why) in [
        (own.path("none.ko").display().to_string(), "No such file"),
        (own.path("proc").display().to_string(), "no file"),
        (own.file("empty.ko", b""), "cut short"),
        (
            own.file("short.ko", &whole[..whole.len() - 40]),
            "cut short",
        ),
        (own.file("text.ko", b"hello"), "no kernel module"),
        (own.module("plain.ko", &FIX[..2]), "no live patch"),
        (
            own.module("other.ko", &other),
            "for Linux 6.1.0, and this is 7.3.4",
        ),
        (
            own.module("build.ko", &[FIX, &["klp_build_id=6163"]].concat()),
            "another build of Linux 7.3.4: 6163, and this is 6162",
        ),
        (
            own.module("name.ko", &["name=../x", FIX[1], FIX[2]]),
            "no name",
        ),
    ] {
        let (exit, cause) = own.fails(&["load", &file]);
        assert_eq!(exit, Exit::BadFile, "{cause}");
        assert!(cause.contains(why), "{cause}");
    }
}

#[test]
fn what_the_kernel_refuses_comes_with_its_log() {
    let own = MadeUp::new();
    let file = own.module("fix.ko", FIX);
    for (errno, expected) in [
        (Errno::PERM, Exit::Forbidden),
        (Errno::NOEXEC, Exit::BadFile),
        (Errno::EXIST, Exit::Busy),
        (Errno::NOENT, Exit::Refused),
        (Errno::KEYREJECTED, Exit::Refused),
        (Errno::INVAL, Exit::Refused),
    ] {
        own.on_load(move |root, _| {
            write(
                root,
                "dev/kmsg",
                b"3,9,1,-;livepatch: failed to find f\n3,9,1,-;x: y\n",
            );
            Err(errno.into())
        });
        own.write("dev/kmsg", "");
        let (exit, cause) = own.fails(&["load", &file]);
        assert_eq!(exit, expected, "{cause}");
        assert!(
            cause.contains("kernel: livepatch: failed to find f"),
            "{cause}"
        );
        assert!(!cause.contains("x: y"), "{cause}");
    }
}

#[test]
fn a_file_that_changes_after_the_check_is_not_loaded() {
    use klpctl::module::Module;
    let own = MadeUp::new();
    let file = own.module("fix.ko", FIX);
    let read = Module::read(Path::new(&file)).unwrap();
    own.file("fix.ko", b"something else");
    struct Never;
    impl klpctl::system::Modules for Never {
        fn load_file(&self, _: &fs::File) -> std::io::Result<()> {
            panic!("it has changed")
        }
        fn load_bytes(&self, _: &[u8]) -> std::io::Result<()> {
            panic!("it has changed")
        }
        fn unload(&self, _: &str) -> std::io::Result<()> {
            panic!("nothing was loaded")
        }
    }
    let system = klpctl::system::System::at(own.path(""), Box::new(Never));
    let error = read.load(&system).unwrap_err();
    assert!(error.to_string().contains("changed"), "{error}");
}

#[test]
fn another_transition_or_module_keeps_it_from_being_loaded() {
    let own = MadeUp::new();
    own.on_load(|_, _| panic!("it must not be loaded"));
    let file = own.module("fix.ko", FIX);
    own.patch("other", "patching");
    let (exit, cause) = own.fails(&["load", &file]);
    assert_eq!(exit, Exit::Busy);
    assert!(cause.contains("other"), "{cause}");
    own.patch("other", "enabled");
    own.write("sys/module/fix/refcnt", "0");
    own.write("sys/module/fix/taint", "O");
    let (exit, cause) = own.fails(&["load", &file]);
    assert_eq!(
        (exit, cause.contains("no live patch")),
        (Exit::Busy, true),
        "{cause}"
    );
}

#[test]
fn a_live_patch_that_was_disabled_is_loaded_anew() {
    let own = MadeUp::new();
    own.patch("fix", "enabled");
    gone(&own.path(""), "fix");
    let file = own.module("fix.ko", FIX);
    own.run(&["load", &file]).unwrap();
    assert_eq!(own.unloaded(), ["fix"]);
}

// --- following a transition -------------------------------------------------------------------------

#[test]
fn a_transition_that_is_turned_round_is_noticed() {
    let own = MadeUp::new();
    own.patch("fix", "patching");
    let root = own.path("");
    let thread = thread::spawn(move || {
        thread::sleep(Duration::from_millis(50));
        write(&root, "sys/kernel/livepatch/fix/enabled", b"0\n");
    });
    let (exit, cause) = own.fails(&["wait", "fix"]);
    thread.join().unwrap();
    assert_eq!(exit, Exit::Reversed, "{cause}");
    assert!(cause.contains("unpatching"), "{cause}");
}

#[test]
fn patience_ends_and_the_transition_goes_on() {
    let own = MadeUp::new();
    own.patch("fix", "patching");
    own.write("sys/kernel/debug/livepatch/fix", REPORT);
    let (exit, cause) = own.fails(&["wait", "--timeout", "0"]);
    assert_eq!(exit, Exit::Transition);
    assert!(
        cause.contains("1 task left: sh (8) sleeps in f [m]"),
        "{cause}"
    );
    own.output.interrupt();
    for line in [["wait", "fix"], ["unload", "fix"]] {
        let (exit, cause) = own.fails(&line);
        assert_eq!(
            (exit, cause.contains("fix")),
            (Exit::Interrupted, true),
            "{cause}"
        );
    }
    assert_eq!(own.read("sys/kernel/livepatch/fix/enabled"), "1\n");
}

#[test]
fn without_a_transition_there_is_nothing_to_wait_for() {
    let own = MadeUp::new();
    assert_eq!(own.text(&["wait"]), "No transition is going on.");
    assert_eq!(own.text(&["why"]), "No transition is going on.");
    for command in ["wait", "why", "unload", "force"] {
        assert_eq!(own.fails(&[command, "none"]).0, Exit::NoPatch);
        assert_eq!(own.fails(&[command, "../x"]).0, Exit::NoPatch);
    }
}

// --- unload -----------------------------------------------------------------------------------------

#[test]
fn unload_disables_waits_and_removes_the_module() {
    let own = MadeUp::new();
    own.patch("fix", "enabled");
    let root = own.path("");
    let thread = thread::spawn(move || {
        // The made-up kernel: the directory goes once it is disabled.
        let enabled = root.join("sys/kernel/livepatch/fix/enabled");
        while fs::read_to_string(&enabled).unwrap() != "0\n" && fs::read(&enabled).unwrap() != b"0"
        {
            thread::sleep(Duration::from_millis(5));
        }
        gone(&root, "fix");
    });
    // A file keeps the rest of what was in it, which sysfs does not.
    own.write("sys/kernel/livepatch/fix/enabled", "1");
    let text = own.text(&["unload", "fix"]);
    thread.join().unwrap();
    assert!(
        text.starts_with("fix: no task uses it, and its module is unloaded"),
        "{text}"
    );
    assert_eq!(own.unloaded(), ["fix"]);
    assert_eq!(own.text(&["unload", "--all"]), "No live patch is loaded.");
}

#[test]
fn a_module_that_is_no_live_patch_is_not_unloaded() {
    let own = MadeUp::new();
    own.write("sys/module/ext4/refcnt", "0");
    own.write("sys/module/ext4/taint", "");
    assert_eq!(own.fails(&["unload", "ext4"]).0, Exit::NoPatch);
    assert_eq!(own.unloaded(), [""; 0]);
}

// --- why, on a core that does not say ---------------------------------------------------------------

#[test]
fn without_a_report_the_tasks_are_asked() {
    let own = MadeUp::new();
    own.patch("fix", "patching");
    for (tid, comm, state, flags, patched, stack) in [
        (1, "init", "S", 0, "1", "g+0x1/0x2"),
        (8, "a) R (b", "S", 0, "0", "g+0x1/0x2\n[<0>] f+0x1/0x2"),
        (9, "spin", "R", 0x0020_0000, "0", ""),
        (10, "odd", "D", 0, "0", "f+0x1/0x2 [other]"),
    ] {
        let task = format!("proc/{tid}/task/{tid}");
        let zeros = "0 ".repeat(29);
        let stat = format!("{tid} ({comm}) {state} 0 0 0 0 0 {flags} {zeros}3 0 0\n");
        own.write(&format!("{task}/stat"), &stat);
        own.write(&format!("{task}/patch_state"), &format!("{patched}\n"));
        own.write(&format!("{task}/stack"), &format!("[<0>] {stack}\n"));
    }
    let text = own.text(&["why", "--verbose"]);
    for part in [
        "3 tasks left",
        "a) R (b (8): sleeps in f\n",
        "       f+0x1/0x2\n",
        "kthread spin (9): runs on CPU 3\n",
        "odd (10): unknown",
        "From /proc",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

// --- force ------------------------------------------------------------------------------------------

#[test]
fn force_needs_a_transition_and_a_confirmation() {
    let own = MadeUp::new();
    own.patch("fix", "enabled");
    assert_eq!(own.fails(&["force", "--yes", "fix"]).0, Exit::Refused);
    own.patch("fix", "patching");
    own.write("sys/kernel/livepatch/fix/force", "");
    assert_eq!(own.fails(&["force", "fix"]).0, Exit::NotConfirmed);
    assert_eq!(own.read("sys/kernel/livepatch/fix/force"), "");
    own.run(&["force", "--yes", "fix"]).unwrap();
    assert_eq!(own.read("sys/kernel/livepatch/fix/force"), "1");
}

// --- what is installed ------------------------------------------------------------------------------

#[test]
fn what_is_installed_is_loaded_at_boot() {
    let own = MadeUp::new();
    let file = own.module("x.ko", &[FIX, &["klp_cve=CVE-2026-1,CVE-2026-2"]].concat());
    own.run(&["install", &file]).unwrap();
    let kept = format!("var/lib/klpctl/{RELEASE}/fix.ko");
    assert_eq!(fs::read(own.path(&kept)).unwrap(), fs::read(&file).unwrap());
    assert!(own.text(&["list"]).contains("CVE-2026-1,CVE-2026-2"));
    assert!(own.text(&["status"]).contains("load --all"));
    own.write("proc/cmdline", "quiet klpctl.boot=0");
    assert!(own.text(&["boot"]).contains("klpctl.boot=0"));
    own.write("proc/cmdline", "quiet");
    assert!(own.text(&["boot"]).starts_with("fix: it is loaded"));
    own.run(&["uninstall", "fix"]).unwrap();
    assert!(!own.path(&kept).exists());
    assert_eq!(own.fails(&["uninstall", "fix"]).0, Exit::NoPatch);
    assert_eq!(own.fails(&["load", "fix"]).0, Exit::NoPatch);
}

#[test]
fn a_copied_file_with_dashes_in_its_name_is_found() {
    let own = MadeUp::new();
    own.on_load(|root, _| enable(root, "live_fix", "enabled"));
    let kept = format!("var/lib/klpctl/{RELEASE}/live-fix.ko");
    own.module(&kept, &["name=live_fix", FIX[1], FIX[2]]);
    for name in ["live_fix", "live-fix"] {
        assert!(own.text(&["load", name]).contains("live_fix: it is loaded"));
    }
    own.run(&["uninstall", "live_fix"]).unwrap();
    assert!(!own.path(&kept).exists());
}

/// Returns the names of what a boot loads, in its order.
fn booted(own: &MadeUp) -> String {
    let answer = own.run(&["boot"]).unwrap();
    let each = answer.json.as_array().unwrap().iter();
    let names = each.map(|one| one["patch"].as_str().unwrap_or("failed").to_owned());
    names.collect::<Vec<_>>().join(" ")
}

#[test]
fn a_boot_goes_by_the_order_that_the_modules_say() {
    let own = MadeUp::new();
    own.on_load(|root, module| {
        let is = |name: &str| {
            module
                .windows(name.len())
                .any(|part| part == name.as_bytes())
        };
        let name = ["alpha", "beta", "gamma"].into_iter().find(|name| is(name));
        enable(root, name.unwrap(), "enabled")
    });
    for (name, order) in [("alpha", "30"), ("beta", "2"), ("gamma", "none")] {
        let fields = [&format!("name={name}"), &*format!("klp_order={order}")];
        let file = own.module(&format!("{name}.ko"), &[&fields, &FIX[1..]].concat());
        own.run(&["install", &file]).unwrap();
    }
    let index = "var/lib/klpctl/7.3.4/modules.livepatch";
    assert_eq!(own.read(index), "0 gamma.ko\n2 beta.ko\n30 alpha.ko\n");
    assert_eq!(booted(&own), "gamma beta alpha");

    // What nobody listed comes last, and a list that is broken keeps nothing from being loaded.
    own.write(index, "2 beta.ko\nbroken\n1 ../../../../etc/x.ko\n");
    assert_eq!(booted(&own), "beta alpha gamma");
    // What is listed, but gone, is a failure until it is uninstalled.
    own.run(&["uninstall", "alpha"]).unwrap();
    fs::remove_file(own.path("var/lib/klpctl/7.3.4/beta.ko")).unwrap();
    assert_eq!(own.run(&["boot"]).unwrap().exit, Exit::BadFile);
    assert_eq!(booted(&own), "gamma failed");
    own.run(&["uninstall", "beta"]).unwrap();
    assert_eq!(booted(&own), "gamma");
    own.run(&["uninstall", "gamma"]).unwrap();
    assert!(!own.path("var/lib/klpctl/7.3.4").exists());
}

#[test]
fn one_that_fails_at_boot_does_not_keep_the_others() {
    let own = MadeUp::new();
    own.write(&format!("var/lib/klpctl/{RELEASE}/a.ko"), "broken");
    let file = own.module("fix.ko", FIX);
    own.run(&["install", &file]).unwrap();
    let answer = own.run(&["boot"]).unwrap();
    assert_eq!(answer.exit, Exit::BadFile);
    assert!(answer.text.contains("fix: it is loaded"), "{}", answer.text);
}

#[test]
fn an_install_that_fails_leaves_nothing() {
    let own = MadeUp::new();
    let file = own.module("fix.ko", FIX);
    // A directory has the file's place, so that the last step fails.
    let place = format!("var/lib/klpctl/{RELEASE}/fix.ko/x");
    own.write(&place, "");
    assert_eq!(own.fails(&["install", &file]).0, Exit::Failed);
    let left = fs::read_dir(own.path(&format!("var/lib/klpctl/{RELEASE}"))).unwrap();
    assert_eq!(left.count(), 1);
}

// --- what is made from the definition ---------------------------------------------------------------

#[test]
fn the_man_page_has_every_command_and_exit_code() {
    let own = MadeUp::new();
    let page = own.text(&["man"]).replace("\\-", "-");
    for (exit, name, _) in Exit::TABLE {
        assert!(page.contains(&format!("\\fB{}\\fR", *exit as u8)), "{name}");
        assert!(page.contains(name), "{name}");
    }
    for command in [
        "status", "load", "unload", "wait", "why", "history", "force", "boot",
    ] {
        assert!(page.contains(&format!("klpctl {command}")), "{command}");
        assert!(own.text(&["completions", "bash"]).contains(command));
    }
}

const PAGE: &str = include_str!("../../../docs/klpctl.rst");

#[test]
fn the_page_has_the_table_of_exit_codes() {
    let page = PAGE.replace('`', "");
    for (exit, name, meaning) in Exit::TABLE {
        let row = page.lines().find(|line| {
            let mut words = line.split_whitespace();
            words.next() == Some(&(*exit as u8).to_string()) && words.next() == Some(name)
        });
        assert!(row.is_some_and(|row| row.ends_with(meaning)), "{name}");
    }
}

#[test]
fn the_page_has_every_key_of_the_json() {
    fn check(value: &serde_json::Value) {
        match value {
            serde_json::Value::Object(map) => map.iter().for_each(|(key, value)| {
                assert!(
                    PAGE.contains(&format!("``{key}``")) || PAGE.contains(&format!("\"{key}\""))
                );
                check(value);
            }),
            serde_json::Value::Array(list) => list.iter().for_each(check),
            _ => {}
        }
    }
    let own = MadeUp::new();
    let file = own.module("fix.ko", FIX);
    for line in [
        &["install", &*file][..],
        &["info", &file],
        &["load", &file],
        &["list"],
        &["status"],
        &["wait", "fix"],
    ] {
        check(&own.run(line).unwrap().json);
    }
    own.patch("fix", "patching");
    own.write("sys/kernel/debug/livepatch/fix", REPORT);
    own.write(
        "dev/kmsg",
        "5,2,95000000,-;livepatch: 'fix': patching complete\n",
    );
    for line in [
        &["why"][..],
        &["status"],
        &["history"],
        &["force", "--yes", "fix"],
    ] {
        check(&own.run(line).unwrap().json);
    }
    let failure = own.run(&["unload", "none"]).unwrap_err();
    check(&serde_json::to_value(failure.json()).unwrap());
}
