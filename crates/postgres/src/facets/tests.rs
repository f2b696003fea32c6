//! Rows of the log, and the tags they must become.

use super::*;

const TABLE: &str = "public.track";

fn registration(columns: &[&str], by: Option<&str>) -> Registration {
    let columns = Some(columns.iter().map(|name| (*name).to_owned()).collect());
    Registration { table: TABLE.into(), columns, by: by.map(str::to_owned) }
}

fn facets(registrations: &[Registration]) -> Facets {
    let facets = Facets::default();
    facets.register(registrations);
    facets
}

fn text(text: &str) -> Seen<'_> {
    Seen::Text(text.as_bytes())
}

fn row<'a>(kind: Kind, old: Option<Vec<Seen<'a>>>, new: Option<Vec<Seen<'a>>>) -> Row<'a> {
    Row { table: TABLE, names: vec!["id", "album", "name"], old, new, kind }
}

fn tags(facets: &Facets, row: &Row<'_>) -> Vec<Tag> {
    let mut gathered = Gathered::new(100);
    facets.gather(row, &mut gathered);
    facets.finish(gathered).map(|(tags, _)| tags.into_vec()).unwrap_or_default()
}

#[test]
fn a_row_that_moves_is_tagged_by_where_it_was_and_where_it_is() {
    let by_album = registration(&["album", "name"], Some("album"));
    let facets = facets(std::slice::from_ref(&by_album));
    let moved = row(
        Kind::Update,
        Some(vec![text("1"), text("10"), text("a")]),
        Some(vec![text("1"), text("20"), text("a")]),
    );
    let mut expected = vec![by_album.row_tag("10"), by_album.row_tag("20")];
    expected.sort_unstable();
    assert_eq!(tags(&facets, &moved), expected);
}

#[test]
fn an_old_key_that_is_not_in_the_log_stands_for_any_row() {
    let by_album = registration(&["album"], Some("album"));
    let facets = facets(&[by_album]);
    for unnamed in [
        row(Kind::Update, None, Some(vec![text("1"), text("20"), text("a")])),
        row(Kind::Delete, Some(vec![text("1"), Seen::Unknown, Seen::Unknown]), None),
    ] {
        assert_eq!(tags(&facets, &unnamed), [reset_tag(TABLE)], "{unnamed:?}");
    }
}

#[test]
fn a_column_no_view_reads_changes_nothing_where_the_old_row_is_known() {
    let by_id = registration(&["id", "album"], Some("id"));
    let facets = facets(std::slice::from_ref(&by_id));
    let renamed = |old| row(Kind::Update, old, Some(vec![text("1"), text("10"), text("b")]));
    assert_eq!(tags(&facets, &renamed(Some(vec![text("1"), text("10"), text("a")]))), []);
    assert_eq!(
        tags(&facets, &renamed(Some(vec![text("1"), Seen::Unknown, Seen::Unknown]))),
        [by_id.row_tag("1")]
    );
}

#[test]
fn an_unchanged_value_stored_elsewhere_is_taken_from_the_old_row() {
    let by_name = registration(&["name", "album"], Some("name"));
    let facets = facets(std::slice::from_ref(&by_name));
    let update = row(
        Kind::Update,
        Some(vec![text("1"), text("10"), text("long")]),
        Some(vec![text("1"), text("11"), Seen::Unchanged]),
    );
    assert_eq!(tags(&facets, &update), [by_name.row_tag("long")]);
}

#[test]
fn null_equals_nothing() {
    let by_album = registration(&["album"], Some("album"));
    let facets = facets(&[by_album]);
    assert_eq!(tags(&facets, &row(Kind::Insert, None, Some(vec![text("1"), Seen::Null, text("a")]))), []);
}

#[test]
fn a_transaction_of_too_many_rows_stands_for_its_tables() {
    let by_id = registration(&["id"], Some("id"));
    let any = registration(&["name"], None);
    let facets = facets(&[by_id, any.clone()]);
    let mut gathered = Gathered::new(50);
    for id in 0..1000 {
        let id = id.to_string();
        facets.gather(&row(Kind::Insert, None, Some(vec![text(&id), Seen::Null, text("a")])), &mut gathered);
        assert!(gathered.tags.len() <= 53);
    }
    let (tags, note) = facets.finish(gathered).expect("something concerns a view");
    let mut expected = vec![reset_tag(TABLE), Tag::table(TABLE, any.facet())];
    expected.sort_unstable();
    assert_eq!(*tags, *expected);
    assert_eq!(&*note, "any row of track");
}

#[test]
fn a_table_that_no_view_reads_concerns_nobody() {
    let facets = facets(&[]);
    let insert = row(Kind::Insert, None, Some(vec![text("1"), Seen::Null, text("a")]));
    assert_eq!(tags(&facets, &insert), []);
}
