fn main() {
    let s = invariant::transition().unwrap();
    for (i, q) in s.proof().iter().chain(&s.twins()).enumerate() {
        std::fs::write(format!("/tmp/inv/{i:03}.smt2"), &q.text).unwrap();
        let qs: Vec<_> = q.questions.iter().map(|q| q.what.clone()).collect();
        println!(
            "{i:03}\t{}\t{}\t{}",
            q.name,
            q.breaks.as_ref().map_or("-".into(), |b| b.join(" ")),
            qs.join(" ").replace("it is possible", "possible")
        );
    }
}
