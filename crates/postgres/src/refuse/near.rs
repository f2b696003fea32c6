//! Names that were perhaps meant.

use tokio_postgres::Client;
use tokio_postgres::error::Error;

/// Tables like the one that is missing.
pub(super) async fn tables(client: &Client, message: &str) -> Result<String, Error> {
    let rows = client
        .query(
            "SELECT c.relname::text FROM pg_catalog.pg_class c WHERE c.relkind IN ('r', 'p', 'v') \
             AND c.oid >= 16384 AND pg_catalog.pg_table_is_visible(c.oid) LIMIT 10000",
            &[],
        )
        .await?;
    let known: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    Ok(suggest(&near(&last_name(message), known.iter().map(String::as_str))))
}

/// Columns like the one that is missing, of tables that the SQL mentions.
pub(super) async fn columns(client: &Client, sql: &str, message: &str) -> Result<String, Error> {
    let words: Vec<String> = sql
        .split(|letter: char| !letter.is_alphanumeric() && letter != '_')
        .filter(|word| !word.is_empty())
        .flat_map(|word| [word.to_owned(), word.to_lowercase()])
        .collect();
    let rows = client
        .query(
            "SELECT a.attname::text FROM pg_catalog.pg_attribute a \
             JOIN pg_catalog.pg_class c ON c.oid = a.attrelid \
             WHERE c.relname = ANY($1::text[]) AND pg_catalog.pg_table_is_visible(c.oid) AND a.attnum > 0 \
             AND NOT a.attisdropped LIMIT 10000",
            &[&words],
        )
        .await?;
    let known: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    Ok(suggest(&near(&last_name(message), known.iter().map(String::as_str))))
}

/// The last part of the name in `relation "a.b" does not exist` or `column a.b does not exist`.
fn last_name(message: &str) -> String {
    let name = match message.split('"').nth(1) {
        Some(quoted) => quoted,
        None => message.split_whitespace().nth(1).unwrap_or_default(),
    };
    name.rsplit('.').next().unwrap_or_default().to_owned()
}

pub(super) fn suggest(near: &[&str]) -> String {
    if near.is_empty() {
        return "correct the name, or create it".into();
    }
    let names: Vec<String> = near.iter().map(|name| format!("`{name}`")).collect();
    format!("did you mean {}?", names.join(" or "))
}

/// The names most like `name`, at most three.
pub(super) fn near<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let name = name.to_lowercase();
    let mut ranked: Vec<(usize, &str)> = known
        .map(|candidate| (strsim::levenshtein(&name, &candidate.to_lowercase()), candidate))
        .filter(|(distance, candidate)| {
            *distance <= name.len().max(candidate.len()).div_ceil(3)
                || (name.len() > 2 && candidate.to_lowercase().contains(&name))
        })
        .collect();
    ranked.sort_unstable();
    ranked.dedup();
    ranked.into_iter().take(3).map(|(_, candidate)| candidate).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_are_near() {
        assert_eq!(near("trak", ["track", "album", "genre"].into_iter()), ["track"]);
        assert_eq!(near("xyz", ["track"].into_iter()), [""; 0]);
        assert_eq!(last_name("relation \"shop.trak\" does not exist"), "trak");
        assert_eq!(last_name("column t.nam does not exist"), "nam");
    }
}
