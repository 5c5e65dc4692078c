//! What agents say of their turns: which prompts they took, and when a turn was over. Pure.

use std::path::PathBuf;

use jiff::Timestamp;

use crate::{model::ClaimId, observed::PromptView};

/// What was heard of the turns of one process.
#[derive(Debug, Clone, Default)]
pub(super) struct Turns {
    /// Claims in its prompts, each once, oldest first.
    pub prompts: Vec<PromptView>,
    /// When a turn was over last.
    pub ended_at: Option<Timestamp>,
    /// When one was last cut off, by a limit or an error of the API.
    pub cut_off_at: Option<Timestamp>,
}

impl Turns {
    /// How many prompts are kept.
    const PROMPTS: usize = 8;

    /// Takes the claims of a prompt in, by the word of a hook. Reports may come late: those of a time without a daemon come from the spool.
    pub fn take(&mut self, claims: Vec<ClaimId>, at: Timestamp) {
        for claim in claims {
            let at = self.prompts.iter().find(|prompt| prompt.claim == claim).map_or(at, |before| before.at.max(at));
            self.prompts.retain(|prompt| prompt.claim != claim);
            self.prompts.push(PromptView { claim, at });
        }
        self.prompts.sort_by_key(|prompt| prompt.at);
        self.prompts.drain(..self.prompts.len().saturating_sub(Self::PROMPTS));
    }

    /// Takes them in by the word of the transcript; a hook that said so has the better time.
    pub fn learn(&mut self, claims: Vec<ClaimId>, at: Timestamp) {
        let news = claims.into_iter().filter(|claim| self.prompts.iter().all(|known| known.claim != *claim)).collect();
        self.take(news, at);
    }

    /// A turn was over.
    pub fn end(&mut self, at: Timestamp) {
        self.ended_at = self.ended_at.max(Some(at));
    }

    /// A turn was cut off.
    pub fn cut_off(&mut self, at: Timestamp) {
        self.cut_off_at = self.cut_off_at.max(Some(at));
    }
}

/// What a process said of itself.
#[derive(Debug, Default)]
pub(super) struct Told {
    pub transcript: Option<PathBuf>,
    pub context_tokens: Option<u64>,
}

/// What a transcript says of the turns of the process that runs now.
#[derive(Default)]
pub(super) struct Heard {
    /// The claims of its last prompt, and when it was given.
    pub prompt: Option<(Vec<ClaimId>, Timestamp)>,
    /// When its last turn was cut off.
    pub cut_off: Option<Timestamp>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims(number: i64) -> Vec<ClaimId> {
        vec![ClaimId(format!("{number:012x}"))]
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("in range")
    }

    fn seconds(turns: &Turns) -> Vec<(String, i64)> {
        turns.prompts.iter().map(|prompt| (prompt.claim.0.trim_start_matches('0').to_owned(), prompt.at.as_second())).collect()
    }

    #[test]
    fn the_newest_prompts_are_kept_in_their_order() {
        let mut turns = Turns::default();
        for number in [9, 3, 1, 2, 4, 5, 6, 7, 8] {
            turns.take(claims(number), at(number));
        }
        assert_eq!(seconds(&turns).iter().map(|(_, second)| *second).collect::<Vec<_>>(), [2, 3, 4, 5, 6, 7, 8, 9]);
    }

    #[test]
    fn a_prompt_that_came_again_counts_once_and_from_then() {
        let mut turns = Turns::default();
        turns.take(claims(1), at(10));
        turns.take(claims(2), at(20));
        turns.take(claims(1), at(30));
        turns.take(claims(1), at(5));
        assert_eq!(seconds(&turns), [("2".to_owned(), 20), ("1".to_owned(), 30)]);
    }

    #[test]
    fn the_transcript_adds_only_what_no_hook_said() {
        let mut turns = Turns::default();
        turns.take(claims(1), at(10));
        turns.learn(claims(1), at(11));
        turns.learn(claims(2), at(12));
        assert_eq!(seconds(&turns), [("1".to_owned(), 10), ("2".to_owned(), 12)]);
    }

    #[test]
    fn a_late_report_does_not_turn_the_end_back() {
        let mut turns = Turns::default();
        turns.end(at(20));
        turns.end(at(10));
        turns.cut_off(at(25));
        turns.cut_off(at(15));
        assert_eq!((turns.ended_at, turns.cut_off_at), (Some(at(20)), Some(at(25))));
    }
}
