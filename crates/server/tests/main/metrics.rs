//! `/metrics`, `/healthz`, `/readyz`.

use crate::world::World;
use std::collections::HashMap;

/// Every sample by name and labels. Fails on anything that is not the text format.
fn parse(text: &str) -> HashMap<String, f64> {
    assert!(text.ends_with("# EOF\n"));
    let mut samples = HashMap::new();
    let mut types = HashMap::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert!(types.insert(name.to_owned(), kind.to_owned()).is_none(), "{name} is declared twice");
        }
        if line.starts_with('#') {
            continue;
        }
        let (name, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line}"));
        let family = name.split('{').next().unwrap();
        let is_declared = types.keys().any(|known| {
            ["", "_total", "_bucket", "_sum", "_count"]
                .iter()
                .any(|suffix| family == format!("{known}{suffix}"))
        });
        assert!(is_declared, "{line}");
        let value = value.parse().unwrap_or_else(|error| panic!("{line}: {error}"));
        assert!(samples.insert(name.to_owned(), value).is_none(), "{line} stands twice");
    }
    samples
}

#[test]
fn metrics_tell_what_happened() {
    let world = World::new();
    world.get("/v1/views/user/1");
    world.get("/v1/views/user/1");
    world.at("strong", "/v1/views/user/1");
    world.get("/v1/views/user/99");
    world.get("/v1/views/nothing/1");
    // The server counts a connection as open until it has let go of it, which may be after its client saw the end; and
    // a machine that is busy elsewhere proves late. Looking at the metrics changes none of the other figures.
    let mut reply = world.get("/metrics");
    world.until("one connection, and a young proof", || {
        reply = world.get("/metrics");
        let samples = parse(reply.text());
        samples["candor_http_connections"] == 1.0
            && samples[r#"candor_feed_proven_age_seconds{source="shop"}"#] < 5.0
    });
    assert!(reply.header("content-type").unwrap().starts_with("application/openmetrics-text"));
    let samples = parse(reply.text());
    let value = |name: &str| *samples.get(name).unwrap_or_else(|| panic!("{name}\n{}", reply.text()));
    assert_eq!(value(r#"candor_answers_total{view="user",from="l1"}"#), 2.0);
    assert_eq!(value(r#"candor_answers_total{view="user",from="source"}"#), 2.0);
    assert_eq!(value(r#"candor_events_total{view="user",reason="miss-cold"}"#), 2.0);
    assert!(value(r#"candor_events_total{view="user",reason="fence-strong"}"#) <= 1.0);
    assert_eq!(value(r#"candor_fill_seconds_count{view="user"}"#), 2.0);
    assert!(value(r#"candor_fill_seconds_sum{view="user"}"#) > 0.0);
    assert_eq!(value(r#"candor_answer_bound_seconds_bucket{le="+Inf",view="user"}"#), 4.0);
    assert_eq!(value(r#"candor_feed_following{source="shop"}"#), 1.0);
    assert!(value(r#"candor_feed_watermark{source="shop"}"#) >= 0.0);
    assert_eq!(value(r#"candor_loads_max{source="shop"}"#), 8.0);
    assert_eq!(value(r#"candor_queue{source="shop"}"#), 0.0);
    assert_eq!(value("candor_l1_entries"), 2.0);
    assert!(value("candor_l1_bytes") > 0.0 && value("candor_l1_bytes_max") > value("candor_l1_bytes"));
    assert_eq!(value(r#"candor_l1_evictions_total{reason="size"}"#), 0.0);
    assert!(value(r#"candor_http_responses_total{status="4xx"}"#) >= 2.0);
}

#[test]
fn invalidations_by_tag_are_counted_for_the_views_they_concern() {
    let world = World::new();
    world.get("/v1/views/user/1");
    world.post("/v1/invalidate", r##"{"tags":["users","users:id=1","#nobody"]}"##);
    world.post("/v1/invalidate", r#"{"view":"user","key":[1]}"#);
    let samples = parse(world.get("/metrics").text());
    let counted =
        |view: &str| samples[&format!(r#"candor_events_total{{view="{view}",reason="invalidated"}}"#)];
    assert_eq!((counted("user"), counted("census"), counted("seat")), (2.0, 1.0, 0.0));
}

#[test]
fn a_server_that_does_not_follow_is_alive_and_not_ready() {
    let world = World::new();
    assert_eq!(world.get("/healthz").json(), serde_json::json!({ "live": true }));
    assert_eq!(world.get("/readyz").json(), serde_json::json!({ "ready": true }));
    std::fs::remove_file(world.database()).unwrap();
    world.until("not ready", || world.get("/readyz").status == 503);
    let unready = world.get("/readyz").json();
    assert_eq!((&unready["ready"], &unready["reasons"][0]["source"]), (&false.into(), &"shop".into()));
    assert!(unready["reasons"][0]["why"].as_str().unwrap().contains("cannot be followed"), "{unready}");
    assert_eq!(world.get("/healthz").status, 200);
}
