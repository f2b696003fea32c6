//! Readers: tasks that read at every level through one door, and note their own time before and after.

use crate::clock::{Nanos, now, pause};
use crate::door::Client;
use crate::embedded::{Embedded, level};
use crate::observation::{Asked, Given, Observation, Told};
use crate::observer::Stage;
use crate::random::Random;
use crate::schema::{ACCOUNT, VIEWS, keys};
use candor::SessionToken;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::mpsc::Sender;

/// Bounds that readers accept.
const BOUNDS: [u64; 5] = [2, 20, 100, 1000, 10_000];

/// A way to Candor.
pub(crate) enum Door {
    Library(&'static str, Embedded),
    Http(Client),
}

/// A token, and what is behind it for certain.
#[derive(Clone, Debug)]
struct Token {
    token: SessionToken,
    given: Given,
}

/// Tokens that readers hand to each other, across instances and doors.
#[derive(Debug, Default)]
pub(crate) struct Board {
    tokens: Mutex<VecDeque<Token>>,
    chains: AtomicU64,
}

impl Door {
    fn name(&self) -> &'static str {
        match self {
            Self::Library(name, _) => name,
            Self::Http(_) => "http",
        }
    }

    async fn read(
        &mut self,
        view: usize,
        key: i64,
        asked: Asked,
        token: Option<SessionToken>,
    ) -> Result<(crate::observation::Content, crate::observation::Claim, SessionToken), String> {
        match self {
            Self::Library(_, embedded) => embedded.read(view, key, level(asked), token).await,
            Self::Http(client) => {
                let text = match asked {
                    Asked::Bounded(limit) => format!("bounded={}ms", limit.as_millis()),
                    other => other.word(),
                };
                client.read(view, key, &text, token.as_ref()).await
            }
        }
    }

    async fn fence(&mut self) -> Result<SessionToken, String> {
        match self {
            Self::Library(_, embedded) => embedded.fence().await,
            Self::Http(client) => client.fence().await,
        }
    }
}

/// Reads until the run ends. `burst` reads follow each other without a pause.
pub(crate) async fn read(
    stage: Arc<Stage>,
    board: Arc<Board>,
    mut door: Door,
    tell: Sender<Told>,
    mut random: Random,
    burst: u64,
) {
    let mut token: Option<Token> = None;
    let mut place = (0, 0);
    while stage.is_reading() {
        for _ in 0..1 + random.below(2 * burst) {
            let told = step(&board, &mut door, &mut random, &mut token, &mut place).await;
            if let Told::Answer(seen) = &told
                && seen.receipt.origin == "l1"
                && matches!(seen.asked, Asked::Strong | Asked::Bounded(_))
            {
                stage.proven.lock().insert(seen.door, seen.begun);
            }
            if tell.send(told).await.is_err() {
                return;
            }
        }
        pause(Duration::from_millis(1 + random.below(3))).await;
    }
}

async fn step(
    board: &Board,
    door: &mut Door,
    random: &mut Random,
    token: &mut Option<Token>,
    place: &mut (usize, i64),
) -> Told {
    // It stays with a key for a while, at all levels: an entry must be asked for again before the writers come by.
    if random.once_in(6) {
        let view = random.below(VIEWS.len() as u64) as usize;
        *place = (view, random.hot(keys(view)));
    }
    let (view, key) = *place;
    let asked = match random.below(100) {
        0..=24 => Asked::Strong,
        25..=49 => Asked::Bounded(Duration::from_millis(BOUNDS[random.below(5) as usize])),
        50..=69 => Asked::Session,
        70..=94 => Asked::Any,
        _ => Asked::Snapshot,
    };
    match asked {
        Asked::Snapshot => snapshot(door).await,
        Asked::Session => {
            if let Err((why, begun)) = renew(board, door, random, token).await {
                return Told::Refused { door: door.name(), asked, why: format!("fence: {why}"), begun };
            }
            one(door, view, key, asked, token).await
        }
        _ => one(door, view, key, asked, &mut None).await,
    }
}

/// A token by a fence, by another reader, or the one of the chain.
async fn renew(
    board: &Board,
    door: &mut Door,
    random: &mut Random,
    token: &mut Option<Token>,
) -> Result<(), (String, Nanos)> {
    if token.is_some() && !random.once_in(12) {
        return Ok(());
    }
    let found = board.tokens.lock().front().cloned();
    // What is shown to whoever else holds it is not behind this token.
    let chain = board.chains.fetch_add(1, Ordering::Relaxed);
    if let Some(Token { token: other, given }) = found.filter(|_| random.once_in(2)) {
        *token = Some(Token { token: other, given: Given { chain, ..given } });
        return Ok(());
    }
    let begun = now();
    let fenced = door.fence().await.map_err(|why| (why, begun))?;
    let new = Token { token: fenced, given: Given { chain, floor: begun, made: now() } };
    let mut tokens = board.tokens.lock();
    tokens.push_back(new.clone());
    if tokens.len() > 4 {
        tokens.pop_front();
    }
    *token = Some(new);
    Ok(())
}

async fn one(door: &mut Door, view: usize, key: i64, asked: Asked, token: &mut Option<Token>) -> Told {
    let name = door.name();
    let begun = now();
    let shown = token.as_ref().map(|token| token.token.clone());
    match door.read(view, key, asked, shown).await {
        Ok((content, receipt, next)) => {
            let given = token.as_ref().map(|token| token.given.clone());
            if let Some(token) = token {
                token.token = next;
            }
            let ended = now();
            Told::Answer(Box::new(Observation {
                door: name,
                view,
                key,
                asked,
                content,
                begun,
                ended,
                given,
                receipt,
            }))
        }
        Err(why) => {
            // Of another log, or ahead: whoever holds it takes a new one.
            *token = None;
            Told::Refused { door: name, asked, why, begun }
        }
    }
}

async fn snapshot(door: &mut Door) -> Told {
    let (name, asked) = (door.name(), Asked::Snapshot);
    let begun = now();
    let told = match door {
        Door::Library(_, embedded) => embedded.snapshot().await,
        Door::Http(client) => client.snapshot().await,
    };
    let ended = now();
    match told {
        Ok((content, receipt)) => Told::Answer(Box::new(Observation {
            door: name,
            view: ACCOUNT,
            // Beside the keys of single accounts.
            key: -1,
            asked,
            content,
            begun,
            ended,
            given: None,
            receipt,
        })),
        Err(why) => Told::Refused { door: name, asked, why, begun },
    }
}
